# distutils: language = c++
"""The codecs by themselves: TensorProto bytes or JSON <-> raw element bytes, and the dtype table.

The server's hot path does not come through here (it stays in C++ from socket to socket); tests, the fuzz targets'
oracles and the benchmarks do.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from libcpp.string cimport string
from libcpp.string_view cimport string_view
from libcpp.vector cimport vector

from ovms._native.libcodec cimport (
    ByteSink, CTensorSpec, Dimension, Dims, DTypeInfo, JsonReader, JsonTensor, OutputView, PredictRequestRef, Status, TensorRef,
    TfsJsonRequest, WireError, decode_numbers, decode_strings, element_count, from_openvino, from_tf, info, kDTypeCount, kDTypes,
    kLargestTensor, kMaxRank, pack_json_tensor, pack_tensor, pack_tfs_json, parse_predict_request, parse_tensor,
)

from ovms.errors import Code, ServingError


cdef str _text(string_view view):
    return view.data()[:view.size()].decode()


cdef int _raise(const Status& status) except -1:
    raise ServingError(Code(status.number()), status.message.decode("utf-8", "replace"))


cdef const DTypeInfo* _dtype(str name) except NULL:
    cdef bytes encoded = name.encode()
    cdef const DTypeInfo* row = from_openvino(string_view(encoded, len(encoded)))
    if row == NULL:
        raise ServingError(Code.INVALID_ARGUMENT, f"dtype {name!r} is not in the dtype table")
    return row


def dtypes():
    """The dtype table: one dict a row, with OpenVINO's, TensorFlow's, KServe's and NumPy's name of the type."""
    return [
        {
            "openvino": _text(kDTypes[i].openvino),
            "tf_name": _text(kDTypes[i].tf_name),
            "tf": kDTypes[i].tf,
            "kserve": _text(kDTypes[i].kserve),
            "numpy": _text(kDTypes[i].numpy),
            "size": kDTypes[i].size,
            "list_field": kDTypes[i].list_field,
            "content": kDTypes[i].content,
        }
        for i in range(kDTypeCount)
    ]


def check_predict_request(request):
    """Parses the structure of a PredictRequest and throws it away; ServingError with offset and reason if it can't."""
    cdef Py_buffer view
    cdef PredictRequestRef ref
    cdef WireError error
    cdef bint parsed
    PyObject_GetBuffer(request, &view, PyBUF_SIMPLE)
    try:
        with nogil:
            parsed = parse_predict_request(<const uint8_t*>view.buf, view.len, ref, error)
    finally:
        PyBuffer_Release(&view)
    if not parsed:
        raise ServingError(Code.INVALID_ARGUMENT, error.text().decode())


cdef tuple _shape(const TensorRef& ref):
    return tuple([ref.dims.at(i) for i in range(min(ref.dims.rank, kMaxRank))])


def decode_tensor(proto, str to=None):
    """(OpenVINO dtype name, shape, values) of a TensorProto.

    values is a bytearray of row-major little-endian elements, converted to dtype ``to`` if given; for strings a list
    of bytes. ServingError INVALID_ARGUMENT says what is wrong and where.
    """
    cdef Py_buffer view
    cdef TensorRef ref
    cdef WireError error
    cdef Status status
    cdef uint64_t count = 0
    cdef const DTypeInfo* sent
    cdef const DTypeInfo* wanted
    cdef vector[string] strings
    cdef void* out
    cdef bint parsed
    PyObject_GetBuffer(proto, &view, PyBUF_SIMPLE)
    try:
        with nogil:
            parsed = parse_tensor(<const uint8_t*>view.buf, view.len, ref, error)
        if not parsed:
            raise ServingError(Code.INVALID_ARGUMENT, error.text().decode())
        sent = from_tf(ref.tf_dtype)
        if sent == NULL:
            raise ServingError(Code.INVALID_ARGUMENT, f"dtype {ref.tf_dtype} is not supported")
        wanted = sent if to is None else _dtype(to)
        if (sent.size == 0) != (wanted.size == 0):
            raise ServingError(Code.INVALID_ARGUMENT, "strings and numbers do not convert into one another")
        if not element_count(ref.dims, count) or count > kLargestTensor // max(1, wanted.size):
            raise ServingError(Code.INVALID_ARGUMENT, f"shape {ref.dims.text().decode()} is not valid or too large")
        if sent.size == 0:
            with nogil:
                strings.resize(count)
                status = decode_strings(ref, strings.data(), count)
            values = [strings[i] for i in range(count)] if status.ok() else None
        else:
            values = PyByteArray_FromStringAndSize(NULL, count * wanted.size)
            out = PyByteArray_AS_STRING(values)
            with nogil:
                status = decode_numbers(ref, sent.dtype, wanted.dtype, out, count)
        if not status.ok():
            _raise(status)
        return _text(wanted.openvino), _shape(ref), values
    finally:
        PyBuffer_Release(&view)


def view_tensor(proto):
    """(tensorflow dtype number, shape, tensor_content as a memoryview): what the parse step alone finds, no copy."""
    cdef Py_buffer view
    cdef TensorRef ref
    cdef WireError error
    cdef size_t start
    PyObject_GetBuffer(proto, &view, PyBUF_SIMPLE)
    try:
        if not parse_tensor(<const uint8_t*>view.buf, view.len, ref, error):
            raise ServingError(Code.INVALID_ARGUMENT, error.text().decode())
        start = 0 if ref.content.size() == 0 else <size_t>(ref.content.data() - <const char*>view.buf)
        return ref.tf_dtype, _shape(ref), memoryview(proto).cast("B")[start:start + ref.content.size()]
    finally:
        PyBuffer_Release(&view)


include "answer.pxi"


cdef class _Outputs:
    """Outputs of a model that never was: views, and what they point to."""

    cdef vector[OutputView] views
    cdef list kept
    cdef vector[vector[string]] strings

    def __cinit__(self, outputs):
        cdef OutputView view
        cdef const DTypeInfo* row
        cdef const uint8_t[::1] memory
        self.kept = []
        self.strings.resize(len(outputs))
        for i, (name, dtype, shape, values) in enumerate(outputs):
            encoded = name.encode()
            self.kept.append(encoded)
            view = OutputView()
            view.name = string_view(encoded, len(encoded))
            row = _dtype(dtype)
            view.dtype = row.dtype
            for dim in shape:
                view.dims.push(dim)
            if not element_count(view.dims, view.count):
                raise ServingError(Code.INVALID_ARGUMENT, f"shape {view.dims.text().decode()} is not valid")
            if row.size == 0:
                self.strings[i] = values
                size = self.strings[i].size()
                view.data = self.strings[i].data()
            else:
                size = memoryview(values).nbytes
                memory = memoryview(values).cast("B") if size else memoryview(bytes(1))
                self.kept.append(memory)
                size = size // row.size
                view.data = &memory[0]
            if size != view.count:
                raise ServingError(Code.INVALID_ARGUMENT, "values do not fit the shape")
            self.views.push_back(view)


def encode_tensor(str dtype, shape, values, *, bint typed_lists=False):
    """The bytes of the TensorProto that TensorFlow's make_tensor_proto would write.

    values: a buffer of row-major little-endian elements, or a sequence of bytes for strings. Its length must fit shape.
    """
    cdef _Outputs outputs = _Outputs([("", dtype, shape, values)])
    cdef Answer answer
    cdef uint8_t[SMALL] small
    cdef ByteSink sink = _sink_of(&answer, small)
    cdef Status status
    with nogil:
        status = pack_tensor(outputs.views[0], typed_lists, sink)
    result = _take_answer(&answer)
    if not status.ok():
        _raise(status)
    return result


def print_json(str dtype, shape, values):
    """The tensor as nested JSON arrays. values: see encode_tensor."""
    cdef _Outputs outputs = _Outputs([("", dtype, shape, values)])
    cdef Answer answer
    cdef uint8_t[SMALL] small
    cdef ByteSink sink = _sink_of(&answer, small)
    cdef Status status
    with nogil:
        status = pack_json_tensor(outputs.views[0], sink)
    result = _take_answer(&answer)
    if not status.ok():
        _raise(status)
    return result


def print_json_response(outputs, *, bint row):
    """The body of a REST predict response. outputs: (name, dtype, shape, values) each, values as for encode_tensor."""
    cdef _Outputs views = _Outputs(outputs)
    cdef Answer answer
    cdef uint8_t[SMALL] small
    cdef ByteSink sink = _sink_of(&answer, small)
    cdef Status status
    with nogil:
        status = pack_tfs_json(views.views, row, sink)
    result = _take_answer(&answer)
    if not status.ok():
        _raise(status)
    return result


def check_json(bytes text):
    """ServingError with offset and reason if the text is no JSON by RFC 8259."""
    cdef JsonReader* reader = new JsonReader(<const uint8_t*>PyBytes_AS_STRING(text), len(text))
    try:
        if not (reader.skip_value() and reader.need_end()):
            raise ServingError(Code.INVALID_ARGUMENT, reader.error().decode("utf-8", "replace"))
    finally:
        del reader


cdef tuple _read_values(JsonTensor& tensor, const DTypeInfo& row):
    cdef Dims dims = tensor.read_dims()
    shape = tuple([dims.at(i) for i in range(min(dims.rank, kMaxRank))])
    if row.size == 0:
        return shape, [tensor.strings()[i] for i in range(tensor.count())]
    return shape, PyByteArray_FromStringAndSize(tensor.content().data(), tensor.content().size())


@cython.final
cdef class JsonPredictReader:
    """Reads bodies of REST predict requests for one signature: (name, dtype, shape) each, -1 in shape for any size."""

    cdef vector[CTensorSpec] specs
    cdef TfsJsonRequest request

    def __cinit__(self, inputs):
        cdef CTensorSpec spec
        cdef Dimension dimension
        for name, dtype, shape in inputs:
            spec = CTensorSpec()
            spec.name = name.encode()
            spec.dtype = _dtype(dtype).dtype
            for size in shape:
                dimension.min = max(0, size)
                dimension.max = size
                spec.dims.push_back(dimension)
            self.specs.push_back(spec)

    def read(self, bytes body):
        """Whether the body has the row form, and (shape, values) of each input, values as decode_tensor gives them."""
        self.parse(body)
        return self.request.row(), [
            _read_values(self.request.tensor(i), info(self.specs[i].dtype)) for i in range(self.specs.size())
        ]

    def parse(self, bytes body):
        """Reads the body and leaves the values where they are."""
        cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(body)
        cdef size_t size = len(body)
        cdef Status status
        with nogil:
            status = self.request.read(data, size, self.specs)
        if not status.ok():
            _raise(status)
