# The data plane's C++ headers restated: models, registry, predict.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.map cimport map as cmap
from libcpp.memory cimport shared_ptr
from libcpp.string cimport string
from libcpp.string_view cimport string_view
from libcpp.vector cimport vector

from ovms._native.libcodec cimport ByteSink, CTensorSpec, DType, Status


cdef extern from "signature.hpp" namespace "ovms" nogil:
    cdef cppclass Signature:
        vector[CTensorSpec] inputs
        vector[CTensorSpec] outputs


cdef extern from "infer_pool.hpp" namespace "ovms" nogil:
    cdef cppclass Deadline:
        Deadline()

    Deadline deadline_after(double)
    double seconds_left(Deadline)


cdef extern from "load_options.hpp" namespace "ovms" nogil:
    cdef cppclass Preprocessing:
        string layout
        string precision
        string color_format
        vector[float] mean
        vector[float] scale

    cdef cppclass LoadOptions:
        string device
        cmap[string, string] config
        cmap[string, string] config_if_small
        uint32_t nireq
        size_t max_queue
        cmap[string, string] input_names
        cmap[string, string] output_names
        cmap[string, string] shapes
        cmap[string, Preprocessing] preprocessing
        int64_t batch
        uint32_t compiled_shapes


cdef extern from "model.hpp" namespace "ovms" nogil:
    cdef cppclass CModel "ovms::Model":
        const string& name()
        int64_t version()
        const Signature& signature()
        uint32_t nireq()
        uint32_t streams()
        cbool small()
        uint32_t compilations()
        cbool compiles_shapes()
        uint64_t shape_hits()
        uint32_t pins()
        cbool wait_unused(Deadline)
        void take_turns(cbool)
        void unload() except +


cdef extern from "openvino/openvino.hpp" namespace "ov" nogil:
    cdef cppclass OvCore "ov::Core":
        OvCore() except +
        vector[string] get_available_devices() except +


cdef extern from "registry.hpp" namespace "ovms" nogil:
    cdef cppclass ModelKey:
        string_view name
        int64_t version
        string_view label
        cbool has_label

    cdef cppclass CRegistry "ovms::Registry":
        Status publish(shared_ptr[CModel]) except +
        Status replace(shared_ptr[CModel]) except +
        Status withdraw(string_view, int64_t) except +
        void set_labels(string_view, const cmap[string, int64_t]&) except +
        Status find(const ModelKey&, shared_ptr[CModel]&) except +
        vector[int64_t] versions(string_view) except +


cdef extern from "predict.hpp" namespace "ovms" nogil:
    cdef cppclass AtomicBool "std::atomic<bool>":
        void store(cbool)

    cdef cppclass Caller:
        Deadline deadline
        const AtomicBool* left

    cdef cppclass TimePoint "ovms::Clock::time_point":
        TimePoint()

    cdef cppclass Trace:
        TimePoint began
        TimePoint checked
        TimePoint leased
        TimePoint bound
        TimePoint inferred
        TimePoint packed
        shared_ptr[const CModel] model

    double milliseconds_between(const TimePoint&, const TimePoint&)

cdef extern from "tfs_proto_codec.hpp" namespace "ovms" nogil:
    cdef cppclass PredictOptions:
        cbool typed_lists
        cbool strict_dtypes

    Status predict_tfs_proto(const CRegistry&, const uint8_t*, size_t, const PredictOptions&, const Caller&, const ByteSink&, Trace*) except +


cdef extern from "tfs_json_codec.hpp" namespace "ovms" nogil:
    Status predict_tfs_json(const CRegistry&, const ModelKey&, const uint8_t*, size_t, const Caller&, const ByteSink&, Trace*) except +


cdef extern from "load.hpp" namespace "ovms" nogil:
    Status load_model(OvCore&, const string&, int64_t, const string&, const LoadOptions&, shared_ptr[CModel]&) except +
    void c_prepare_core "ovms::prepare_core"(OvCore&, const string&, const string&) except +
    string openvino_version_text() except +


cdef extern from "allocator.hpp" namespace "ovms" nogil:
    void c_keep_freed_memory "ovms::keep_freed_memory"()


cdef extern from "net/data_plane.hpp" namespace "ovms::net" nogil:
    cdef cppclass DataPlane:
        pass

    DataPlane make_data_plane(const CRegistry&)
