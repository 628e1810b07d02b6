# The native front end's C++ headers restated.
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.memory cimport shared_ptr, unique_ptr
from libcpp.pair cimport pair
from libcpp.string cimport string
from libcpp.string_view cimport string_view
from libcpp.unordered_set cimport unordered_set
from libcpp.vector cimport vector

from ovms._native.libserving cimport DataPlane, Deadline, PredictOptions


cdef extern from "<chrono>" namespace "std::chrono" nogil:
    cdef cppclass microseconds:
        microseconds(int64_t)


cdef extern from "net/body.hpp" namespace "ovms::net" nogil:
    cdef cppclass Body:
        const uint8_t* data()
        size_t size()


cdef extern from "net/held_bytes.hpp" namespace "ovms::net" nogil:
    void limit_held_bytes "ovms::net::HeldBytes::limit_all"(size_t)
    size_t all_held_bytes "ovms::net::HeldBytes::all"()


cdef extern from "net/cold_calls.hpp" namespace "ovms::net" nogil:
    cdef cppclass ColdCall:
        cbool grpc
        string method
        string path
        vector[pair[string, string]] headers
        string peer
        string protocol
        Body body
        string body_trouble
        Deadline deadline
        cbool gone()
        void send(string_view) except +
        void finish(int, string_view) except +
        void respond(int, vector[pair[string, string]], string_view) except +

    cdef cppclass ColdEvent "ovms::net::ColdQueue::Event":
        shared_ptr[ColdCall] call
        cbool left
        string notice

    cdef cppclass ColdQueue:
        cbool pop(ColdEvent&) except +
        void close()


cdef extern from "net/grpc_port.hpp" namespace "ovms::net" nogil:
    cdef cppclass GrpcSettings:
        PredictOptions predict
        size_t max_message
        cbool metrics
        cbool predict_in_python
        unordered_set[string] cold_paths
        unordered_set[string] open_paths
        unordered_set[string] admin_paths
        int max_connections


cdef extern from "<atomic>" namespace "std" nogil:
    cdef cppclass AtomicCount "std::atomic<uint64_t>":
        uint64_t load()


cdef extern from "net/metrics.hpp" namespace "ovms::net" nogil:
    cdef cppclass Histogram:
        AtomicCount nanoseconds

    cdef cppclass Series:
        string model
        int64_t version
        string method
        Histogram total
        Histogram receive
        Histogram queue
        Histogram infer
        Histogram pack

    cdef cbool series_is_rest "ovms::net::is_rest"(const Series&)
    cdef uint64_t series_calls "ovms::net::calls_of"(const Series&, size_t)
    cdef uint64_t histogram_count "ovms::net::count_of"(const Histogram&, size_t)
    cdef int HISTOGRAM_FIRST_BIT "ovms::net::Histogram::kFirstBit"
    cdef size_t HISTOGRAM_BUCKETS "ovms::net::Histogram::kBuckets"
    cdef size_t SERIES_CODES "ovms::net::Series::kCodes"


cdef extern from "net/spans.hpp" namespace "ovms::net" nogil:
    cdef cppclass SamplerSettings:
        cbool parent_based
        cbool all
        uint64_t below

    cdef cppclass Span:
        uint64_t trace_high
        uint64_t trace_low
        uint64_t id
        uint64_t parent
        int64_t began
        uint64_t whole
        uint64_t infer
        uint64_t inferred
        uint64_t done
        int code
        int http_status
        string method
        string model
        int64_t version


cdef extern from "net/rest_port.hpp" namespace "ovms::net" nogil:
    cdef cppclass RestSettings:
        size_t max_body
        double timeout_seconds
        double read_seconds
        cbool metrics
        cbool predict_in_python
        cbool cors
        cbool any_origin
        unordered_set[string] origins
        int max_connections


cdef extern from "net/keys.hpp" nogil:
    cdef cppclass KeyDigest "ovms::net::KeyDigest":
        uint8_t* data()
        size_t size()


cdef extern from "net/keys.hpp" namespace "ovms::net" nogil:
    cdef cppclass ApiKey:
        string name
        KeyDigest digest
        uint8_t scopes


cdef extern from "net/gate.hpp" namespace "ovms::net" nogil:
    cdef cppclass GateSettings:
        cbool keys
        double requests_per_second

    cdef enum class Refused(uint8_t):
        kNoKey
        kWrongKey
        kScope
        kRate
        kConnections


cdef extern from "net/tls.hpp" namespace "ovms::net" nogil:
    cdef cppclass TlsIdentity:
        string certificates
        string key
        string client_authorities

    cdef string tls_trouble(const TlsIdentity&) except +
    cdef int64_t certificate_end(const string&) except +


cdef extern from "net/front_end.hpp" namespace "ovms::net" nogil:
    cdef cppclass CFrontEnd "ovms::net::FrontEnd":
        CFrontEnd(const DataPlane&, size_t, size_t, microseconds) except +
        void guard(const GateSettings&) except +
        void set_keys(vector[ApiKey]) except +
        void trace(const SamplerSettings&, size_t) except +
        vector[Span] take_spans() except +
        uint64_t dropped_spans()
        uint64_t refusals(size_t, size_t)
        uint64_t tls_failures(size_t) except +
        size_t add_grpc(GrpcSettings) except +
        size_t add_rest(const RestSettings&) except +
        void listen(size_t, int, cbool) except +
        string set_tls(size_t, const TlsIdentity&) except +
        void start() except +
        void refuse(size_t)
        cbool drain(size_t, Deadline) except +
        cbool stop() except +
        ColdQueue& cold()
        int connections(size_t)
        vector[unique_ptr[Series]] metrics() except +
        size_t waiting(const string&, int64_t) except +
