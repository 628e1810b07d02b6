# distutils: language = c++
"""Models, their registry and the predict path. Every call that touches OpenVINO or a payload releases the GIL."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t
from libcpp cimport bool as cbool
from libcpp.map cimport map as cmap
from libcpp.memory cimport shared_ptr
from libcpp.string cimport string
from libcpp.string_view cimport string_view

from ovms._native.libcodec cimport ByteSink, Status, info
from ovms._native.libserving cimport (
    c_keep_freed_memory, CModel, CRegistry, CTensorSpec, Deadline, LoadOptions, ModelKey, OvCore, PredictOptions, c_predict, deadline_after,
    load_model, openvino_version_text,
)

import dataclasses

from ovms.errors import Code, ServingError


cdef int _check(const Status& status) except -1:
    """The one place where a C++ error becomes an exception."""
    if not status.ok():
        raise ServingError(Code(status.number()), status.message.decode("utf-8", "replace"))
    return 0


cdef string _bytes(text) except *:
    return text.encode("utf-8", "surrogateescape")


cdef cmap[string, string] _bytes_map(mapping) except *:
    cdef cmap[string, string] out
    for key, value in mapping.items():
        out[_bytes(key)] = _bytes(value)
    return out


@dataclasses.dataclass(frozen=True, slots=True)
class TensorSpec:
    """One named input or output of a model; shape has -1 where a dimension is dynamic, and is None for any rank."""

    name: str
    tensor_name: str
    dtype: str
    tf_dtype: int
    shape: tuple


cdef object _tensor_spec(const CTensorSpec& spec):
    row = info(spec.dtype)
    shape = None
    if not spec.any_rank:
        shape = tuple([spec.dims[i].min if spec.dims[i].fixed() else -1 for i in range(spec.dims.size())])
    dtype = row.openvino.data()[:row.openvino.size()].decode()
    return TensorSpec(spec.name.decode(), spec.tensor_name.decode(), dtype, row.tf, shape)


@cython.final
cdef class Model:
    """A compiled model with its signature and its pool of infer requests. Made by Core.load."""

    cdef shared_ptr[CModel] model

    def __init__(self):
        raise TypeError("a Model is made by Core.load")

    @property
    def name(self):
        return self.model.get().name().decode()

    @property
    def version(self):
        return self.model.get().version()

    @property
    def nireq(self):
        """How many infer requests the model has."""
        return self.model.get().pool().size()

    @property
    def in_use(self):
        """How many requests hold the model at this moment."""
        return self.model.get().pins()

    @property
    def inputs(self):
        cdef const CTensorSpec* specs = self.model.get().signature().inputs.data()
        return tuple([_tensor_spec(specs[i]) for i in range(self.model.get().signature().inputs.size())])

    @property
    def outputs(self):
        cdef const CTensorSpec* specs = self.model.get().signature().outputs.data()
        return tuple([_tensor_spec(specs[i]) for i in range(self.model.get().signature().outputs.size())])

    def wait_unused(self, timeout=None):
        """Blocks until no request holds the model; False if timeout (seconds) passed first."""
        cdef Deadline deadline = deadline_after(-1.0 if timeout is None else timeout)
        cdef cbool unused
        with nogil:
            unused = self.model.get().wait_unused(deadline)
        return unused

    def unload(self):
        """Frees the compiled model. Only for a model that was withdrawn and is unused."""
        if self.model.get().pins() != 0:
            raise ServingError(Code.FAILED_PRECONDITION, f"{self.name} version {self.version} is in use")
        with nogil:
            self.model.get().unload()


@cython.final
cdef class Core:
    """OpenVINO's core: reads models of any format it knows and compiles them for a device."""

    cdef OvCore core

    def load(self, str name, int64_t version, str path, *, str device="CPU", config=None, int nireq=0,
             input_names=None, output_names=None):
        """Reads and compiles the model at path: a file, or a TensorFlow SavedModel's folder.

        config: OpenVINO properties as text. nireq 0: OpenVINO's optimal number of infer requests. input_names and
        output_names map the model's tensor names to public ones. ServingError carries OpenVINO's own words.
        """
        cdef LoadOptions options
        cdef Model model = Model.__new__(Model)
        cdef string c_name = _bytes(name)
        cdef string c_path = _bytes(path)
        cdef Status status
        if nireq < 0:
            raise ServingError(Code.INVALID_ARGUMENT, f"nireq is {nireq}, and must not be negative")
        options.device = _bytes(device)
        options.config = _bytes_map(config or {})
        options.nireq = nireq
        options.input_names = _bytes_map(input_names or {})
        options.output_names = _bytes_map(output_names or {})
        with nogil:
            status = load_model(self.core, c_name, version, c_path, options, model.model)
        _check(status)
        return model

    def devices(self):
        """The names of the devices OpenVINO finds on this machine."""
        return [name.decode() for name in self.core.get_available_devices()]


@cython.final
cdef class Registry:
    """(name, version | label) -> published Model. Readers never wait for a load or an unload."""

    cdef CRegistry registry

    def publish(self, Model model not None):
        """From now on requests may get the model. ALREADY_EXISTS if its version is published."""
        _check(self.registry.publish(model.model))

    def withdraw(self, str name, int64_t version):
        """From now on no request gets the model; those that have it keep it until they are done."""
        cdef string c_name = _bytes(name)
        _check(self.registry.withdraw(string_view(c_name), version))

    def set_labels(self, str name, labels):
        """Replaces the version labels of name by this mapping of label to version."""
        cdef string c_name = _bytes(name)
        cdef cmap[string, int64_t] c_labels
        for label, version in labels.items():
            c_labels[_bytes(label)] = version
        self.registry.set_labels(string_view(c_name), c_labels)

    def resolve(self, str name, int64_t version=0, str label=None):
        """The published Model a model spec means; version 0 is the highest. NOT_FOUND otherwise."""
        cdef string c_name = _bytes(name)
        cdef string c_label = _bytes(label or "")
        cdef ModelKey key
        cdef Model model = Model.__new__(Model)
        key.name = string_view(c_name)
        key.version = version
        key.label = string_view(c_label)
        key.has_label = label is not None
        _check(self.registry.find(key, model.model))
        return model

    def versions(self, str name):
        """The published versions of name, ascending."""
        cdef string c_name = _bytes(name)
        return self.registry.versions(string_view(c_name))


# Answers up to this size are packed on the stack and copied once the GIL is back: cheaper than taking the GIL in the
# middle of a call for their memory. Larger ones are packed straight into the bytes object that is returned.
cdef enum:
    SMALL = 16384


cdef struct Answer:
    uint8_t* small
    size_t size
    void* large


cdef uint8_t* _allocate_large(Answer* answer, size_t size) noexcept with gil:
    try:
        result = PyBytes_FromStringAndSize(NULL, size)
    except MemoryError:
        return NULL
    Py_INCREF(result)
    answer.large = <void*>result
    return <uint8_t*>PyBytes_AS_STRING(result)


cdef uint8_t* _allocate(void* context, size_t size) noexcept nogil:
    cdef Answer* answer = <Answer*>context
    answer.size = size
    if size <= SMALL:
        return answer.small
    return _allocate_large(answer, size)


cdef extern from "Python.h":
    void Py_INCREF(object)
    void Py_DECREF(object)


def predict(Registry registry not None, request, timeout=None, *, bint typed_lists=False, bint strict_dtypes=False):
    """Answers one tensorflow.serving.PredictRequest: bytes in, bytes of a PredictResponse out.

    timeout: seconds to wait for a free infer request; None waits without limit. ServingError says what is wrong.
    """
    cdef Py_buffer view
    cdef Answer answer
    cdef uint8_t[SMALL] small
    cdef ByteSink sink
    cdef PredictOptions options
    cdef Status status
    cdef double seconds = -1.0 if timeout is None else max(0.0, timeout)
    answer.small = small
    answer.size = 0
    answer.large = NULL
    sink.allocate = &_allocate
    sink.context = &answer
    options.typed_lists = typed_lists
    options.strict_dtypes = strict_dtypes
    PyObject_GetBuffer(request, &view, PyBUF_SIMPLE)
    with nogil:
        status = c_predict(registry.registry, <const uint8_t*>view.buf, view.len, deadline_after(seconds), options, sink)
    PyBuffer_Release(&view)
    if answer.large != NULL:
        result = <object>answer.large
        Py_DECREF(result)
    else:
        result = PyBytes_FromStringAndSize(<char*>small, answer.size)
    _check(status)
    return result


def keep_freed_memory():
    """For a server process: has the allocator keep freed memory for the next message (up to 64 MiB of it)."""
    c_keep_freed_memory()


def openvino_version():
    """Release and build of the OpenVINO that is loaded, e.g. ``2026.4.1-22982-...``."""
    return openvino_version_text().decode()
