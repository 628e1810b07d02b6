# distutils: language = c++
"""The codec by itself: TensorProto bytes <-> raw element bytes, and the dtype table.

The server's hot path does not come through here (it stays in C++ from socket to socket); tests, the fuzz targets'
oracles and the benchmarks do.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from libcpp.string cimport string
from libcpp.string_view cimport string_view
from libcpp.vector cimport vector

from ovms._native.libcodec cimport (
    ByteSink, DTypeInfo, OutputView, PredictRequestRef, Status, TensorRef, WireError, decode_numbers, decode_strings,
    element_count, from_openvino, from_tf, kDTypeCount, kDTypes, kLargestTensor, kMaxRank, pack_tensor, parse_predict_request, parse_tensor,
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


cdef uint8_t* _allocate(void* context, size_t size) noexcept with gil:
    cdef list result = <list>context
    try:
        answer = PyBytes_FromStringAndSize(NULL, size)
        result.append(answer)
        return <uint8_t*>PyBytes_AS_STRING(answer)
    except MemoryError:
        return NULL


def encode_tensor(str dtype, shape, values, *, bint typed_lists=False):
    """The bytes of the TensorProto that TensorFlow's make_tensor_proto would write.

    values: a buffer of row-major little-endian elements, or a sequence of bytes for strings. Its length must fit shape.
    """
    cdef Py_buffer view
    cdef OutputView output
    cdef ByteSink sink
    cdef Status status
    cdef vector[string] strings
    cdef const DTypeInfo* row = _dtype(dtype)
    cdef list result = []
    for dim in shape:
        output.dims.push(dim)
    if not element_count(output.dims, output.count):
        raise ServingError(Code.INVALID_ARGUMENT, f"shape {output.dims.text().decode()} is not valid")
    output.dtype = row.dtype
    sink.allocate = &_allocate
    sink.context = <void*>result
    if row.size == 0:
        strings = values
        if strings.size() != output.count:
            raise ServingError(Code.INVALID_ARGUMENT, "values do not fit the shape")
        output.data = strings.data()
        with nogil:
            status = pack_tensor(output, typed_lists, sink)
    else:
        PyObject_GetBuffer(values, &view, PyBUF_SIMPLE)
        try:
            if <size_t>view.len != output.count * row.size:
                raise ServingError(Code.INVALID_ARGUMENT, "values do not fit the shape")
            output.data = view.buf
            with nogil:
                status = pack_tensor(output, typed_lists, sink)
        finally:
            PyBuffer_Release(&view)
    if not status.ok():
        _raise(status)
    return result[0]
