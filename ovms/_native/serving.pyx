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

from ovms._native.libcodec cimport ByteSink, CTensorSpec, Status, info
from ovms._native.libserving cimport (
    AtomicBool, Caller, CModel, DataPlane, Deadline, LoadOptions, ModelKey, OvCore, PredictOptions, Preprocessing, TimePoint, Trace,
    c_keep_freed_memory, c_prepare_core, deadline_after, load_model, make_data_plane, milliseconds_between, openvino_version_text,
    predict_tfs_json, predict_tfs_proto,
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
    """One named input or output of a model; shape has -1 where a dimension is dynamic, and is None for any rank.

    example: of an input, sizes that are likely to work: the model's own, else the least allowed, else -1.
    """

    name: str
    tensor_name: str
    dtype: str
    tf_dtype: int
    shape: tuple
    example: tuple = ()


cdef object _tensor_spec(const CTensorSpec& spec):
    row = info(spec.dtype)
    shape = None
    if not spec.any_rank:
        shape = tuple([spec.dims[i].min if spec.dims[i].fixed() else -1 for i in range(spec.dims.size())])
    dtype = row.openvino.data()[:row.openvino.size()].decode()
    example = tuple([spec.example[i] for i in range(spec.example.size())])
    return TensorSpec(spec.name.decode(), spec.tensor_name.decode(), dtype, row.tf, shape, example)


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
        """How many infer requests the model has; one compiled apart for each shape: each of these."""
        return self.model.get().nireq()

    @property
    def streams(self):
        """How many inferences OpenVINO really runs at once; 0 if the device does not say."""
        return self.model.get().streams()

    @property
    def small(self):
        """Whether it was loaded with what ``config_if_small`` says."""
        return self.model.get().small()

    @property
    def compilations(self):
        """How often the model was compiled so far: once for itself or for each shape that was met, and after failed runs."""
        return self.model.get().compilations()

    @property
    def shape_hits(self):
        """How many requests found their shape compiled; None for a model that is not compiled apart for each shape."""
        return self.model.get().shape_hits() if self.model.get().compiles_shapes() else None

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

    def take_turns(self, bint on):
        """For a warm-up: n calls at a time, with n = nireq, run once on each infer request as long as this is on."""
        self.model.get().take_turns(on)

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

    def __init__(self, *, str cache_dir="", str extension=""):
        """cache_dir: folder for compiled models. extension: a library with operations of one's own.

        ServingError with OpenVINO's words if either is of no use.
        """
        cdef string c_cache = _bytes(cache_dir)
        cdef string c_extension = _bytes(extension)
        try:
            with nogil:
                c_prepare_core(self.core, c_cache, c_extension)
        except RuntimeError as error:
            raise ServingError(Code.FAILED_PRECONDITION, str(error)) from None

    def load(self, str name, int64_t version, str path, *, str device="CPU", config=None, config_if_small=None, int nireq=0,
             input_names=None, output_names=None, shapes=None, int64_t batch=0, int compiled_shapes=0,
             preprocessing=None, max_queue=None):
        """Reads and compiles the model at path: a file, or a TensorFlow SavedModel's folder.

        config: OpenVINO properties as text; config_if_small: and those that take their place for a model of fixed shapes
        with so little to compute that a second thread would cost more than it saves. nireq 0: OpenVINO's optimal number
        of infer requests. input_names and output_names map the model's tensor names to public ones. shapes: input name (or
        "" for the only one) to "auto" or a shape in OpenVINO's words. batch 0: the model's own, -1: any. compiled_shapes 0:
        auto makes dimensions dynamic; N: each shape is compiled apart, the last N are kept. preprocessing: input name (or "") to an object with layout,
        precision, color_format (text or None), mean and scale (floats). max_queue: how many requests may wait; None: any
        number. ServingError carries OpenVINO's own words.
        """
        cdef LoadOptions options
        cdef Preprocessing steps
        cdef Model model = Model.__new__(Model)
        cdef string c_name = _bytes(name)
        cdef string c_path = _bytes(path)
        cdef Status status
        for what, value in (("nireq", nireq), ("compiled_shapes", compiled_shapes), ("max_queue", max_queue or 0)):
            if value < 0:
                raise ServingError(Code.INVALID_ARGUMENT, f"{what} is {value}, and must not be negative")
        options.device = _bytes(device)
        options.config = _bytes_map(config or {})
        options.config_if_small = _bytes_map(config_if_small or {})
        options.nireq = nireq
        options.input_names = _bytes_map(input_names or {})
        options.output_names = _bytes_map(output_names or {})
        options.shapes = _bytes_map(shapes or {})
        options.batch = batch
        options.compiled_shapes = compiled_shapes
        if max_queue is not None:
            options.max_queue = max_queue
        for tensor, wanted in (preprocessing or {}).items():
            steps.layout = _bytes(wanted.layout or "")
            steps.precision = _bytes(wanted.precision or "")
            steps.color_format = _bytes(wanted.color_format or "")
            steps.mean = list(wanted.mean)
            steps.scale = list(wanted.scale)
            options.preprocessing[_bytes(tensor)] = steps
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

    def publish(self, Model model not None):
        """From now on requests may get the model. ALREADY_EXISTS if its version is published."""
        _check(self.registry.publish(model.model))

    def replace(self, Model model not None):
        """Puts the model in the place of the one of its name and version; requests that have that one keep it."""
        _check(self.registry.replace(model.model))

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


cdef DataPlane data_plane(Registry registry):
    return make_data_plane(registry.registry)


include "answer.pxi"


cdef object _call_trace(const Trace& trace):
    if trace.model.get() == NULL:
        return None
    return CallTrace(
        trace.model.get().name().decode("utf-8", "replace"),
        trace.model.get().version(),
        _milliseconds(trace.began, trace.checked),
        _milliseconds(trace.checked, trace.leased),
        _milliseconds(trace.leased, trace.bound),
        _milliseconds(trace.bound, trace.inferred),
        _milliseconds(trace.inferred, trace.packed),
    )


cdef object _milliseconds(const TimePoint& since, const TimePoint& until):
    """None for a step that was not reached."""
    cdef TimePoint never
    if milliseconds_between(never, until) == 0:
        return None
    return milliseconds_between(since, until)


@dataclasses.dataclass(frozen=True, slots=True)
class CallTrace:
    """Who answered a call, and the milliseconds that its steps took; None for a step that was not reached."""

    name: str
    version: int
    checked: float
    waited: float
    bound: float
    inferred: float
    packed: float


@cython.final
cdef class ClientLeft:
    """Told (called) when the client of one call has gone; a predict that has it then runs no inference any more."""

    cdef AtomicBool left

    def __call__(self):
        self.left.store(True)


def predict(Registry registry not None, request, timeout=None, ClientLeft left=None, *, bint typed_lists=False,
            bint strict_dtypes=False, trace=None):
    """Answers one tensorflow.serving.PredictRequest: bytes in, bytes of a PredictResponse out.

    timeout: seconds to wait for a free infer request; None waits without limit. left: CANCELLED if it was told before
    the inference began. trace: called with the CallTrace of a call that found its model, also of one that fails.
    ServingError says what is wrong.
    """
    cdef Py_buffer view
    cdef Answer answer
    cdef uint8_t[SMALL] small
    cdef ByteSink sink = _sink_of(&answer, small)
    cdef PredictOptions options
    cdef Caller caller
    cdef Trace steps
    cdef Trace* wanted = <Trace*>NULL if trace is None else &steps
    cdef Status status
    cdef double seconds = -1.0 if timeout is None else max(0.0, timeout)
    if left is not None:
        caller.left = &left.left
    options.typed_lists = typed_lists
    options.strict_dtypes = strict_dtypes
    PyObject_GetBuffer(request, &view, PyBUF_SIMPLE)
    with nogil:
        caller.deadline = deadline_after(seconds)
        status = predict_tfs_proto(registry.registry, <const uint8_t*>view.buf, view.len, options, caller, sink, wanted)
    PyBuffer_Release(&view)
    result = _take_answer(&answer)
    _tell(trace, steps)
    _check(status)
    return result


def predict_json(Registry registry not None, str name, int64_t version, str label, body, timeout=None, *, trace=None):
    """Answers the body of a TensorFlow Serving REST predict request: JSON bytes in, JSON bytes out.

    version 0: the highest; label: None, or a version label, which then decides. Others: see predict.
    """
    # The text has to end with a zero byte, which bytes objects have behind their last one.
    cdef bytes text = body if type(body) is bytes else bytes(body)
    cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(text)
    cdef size_t size = len(text)
    cdef string c_name = _bytes(name)
    cdef string c_label = _bytes(label or "")
    cdef ModelKey key
    cdef Answer answer
    cdef uint8_t[SMALL] small
    cdef ByteSink sink = _sink_of(&answer, small)
    cdef Caller caller
    cdef Trace steps
    cdef Trace* wanted = <Trace*>NULL if trace is None else &steps
    cdef Status status
    cdef double seconds = -1.0 if timeout is None else max(0.0, timeout)
    key.name = string_view(c_name)
    key.version = version
    key.label = string_view(c_label)
    key.has_label = label is not None
    with nogil:
        caller.deadline = deadline_after(seconds)
        status = predict_tfs_json(registry.registry, key, data, size, caller, sink, wanted)
    result = _take_answer(&answer)
    _tell(trace, steps)
    _check(status)
    return result


cdef int _tell(trace, const Trace& steps) except -1:
    if trace is not None:
        found = _call_trace(steps)
        if found is not None:
            trace(found)
    return 0


def keep_freed_memory():
    """For a server process: has the allocator keep freed memory for the next message (up to 64 MiB of it)."""
    c_keep_freed_memory()


def openvino_version():
    """Release and build of the OpenVINO that is loaded, e.g. ``2026.4.1-22982-...``."""
    return openvino_version_text().decode()
