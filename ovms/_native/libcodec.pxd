# The codec's C++ headers restated: bytes <-> tensors, nothing of OpenVINO.
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.string cimport string
from libcpp.string_view cimport string_view
from libcpp.vector cimport vector


cdef extern from "status.hpp" namespace "ovms" nogil:
    cdef cppclass Status:
        string message
        int number()
        cbool ok()


cdef extern from "dtype.hpp" namespace "ovms" nogil:
    cdef cppclass DType:
        pass

    cdef cppclass DTypeInfo:
        DType dtype
        string_view openvino
        string_view tf_name
        uint8_t tf
        string_view kserve
        string_view numpy
        uint8_t size
        uint8_t list_field
        cbool content

    const DTypeInfo& info(DType)
    const DTypeInfo* from_openvino(string_view)
    const DTypeInfo* from_tf(uint64_t)
    const DTypeInfo* kDTypes "ovms::kDTypes.data()"
    const size_t kDTypeCount


cdef extern from "byte_reader.hpp" namespace "ovms" nogil:
    cdef cppclass WireError:
        string text()


cdef extern from "tensor_ref.hpp" namespace "ovms" nogil:
    cdef cppclass Dims:
        size_t rank
        void push(int64_t)
        string text()
        int64_t at(size_t)

    cdef cppclass TensorRef:
        uint64_t tf_dtype
        Dims dims
        string_view content

    const size_t kMaxRank
    const uint64_t kLargestTensor
    cbool element_count(const Dims&, uint64_t&)


cdef extern from "tfs_request.hpp" namespace "ovms" nogil:
    cdef cppclass PredictRequestRef:
        pass

    cbool parse_predict_request(const uint8_t*, size_t, PredictRequestRef&, WireError&) except +
    cbool parse_tensor(const uint8_t*, size_t, TensorRef&, WireError&) except +


cdef extern from "tensor_decode.hpp" namespace "ovms" nogil:
    Status decode_numbers(const TensorRef&, DType, DType, void*, uint64_t) except +
    Status decode_strings(const TensorRef&, string*, uint64_t) except +


cdef extern from "output_view.hpp" namespace "ovms" nogil:
    ctypedef uint8_t* (*AllocateFunction "decltype(ovms::ByteSink::allocate)")(void*, size_t) noexcept nogil
    ctypedef void (*ShrinkFunction "decltype(ovms::ByteSink::shrink)")(void*, size_t) noexcept nogil

    cdef cppclass ByteSink:
        AllocateFunction allocate
        ShrinkFunction shrink
        void* context

    cdef cppclass OutputView:
        OutputView()
        string_view name
        DType dtype
        Dims dims
        uint64_t count
        const void* data


cdef extern from "tfs_response.hpp" namespace "ovms" nogil:
    Status pack_tensor(const OutputView&, cbool, const ByteSink&) except +


cdef extern from "signature.hpp" namespace "ovms" nogil:
    cdef cppclass Dimension:
        int64_t min
        int64_t max
        cbool fixed()

    cdef cppclass CTensorSpec "ovms::TensorSpec":
        CTensorSpec()
        string name
        string tensor_name
        DType dtype
        cbool any_rank
        vector[Dimension] dims
        vector[int64_t] example


cdef extern from "json_reader.hpp" namespace "ovms" nogil:
    cdef cppclass JsonReader:
        JsonReader(const uint8_t*, size_t)
        cbool skip_value() except +
        cbool need_end() except +
        const string& error()


cdef extern from "json_tensor.hpp" namespace "ovms" nogil:
    cdef cppclass JsonTensor:
        Dims read_dims "dims"()
        string_view content()
        string* strings()
        uint64_t count()


cdef extern from "tfs_json_request.hpp" namespace "ovms" nogil:
    cdef cppclass TfsJsonRequest:
        Status read(const uint8_t*, size_t, const vector[CTensorSpec]&) except +
        JsonTensor& tensor(size_t)
        cbool row()


cdef extern from "tfs_json_response.hpp" namespace "ovms" nogil:
    Status pack_tfs_json(const vector[OutputView]&, cbool, const ByteSink&) except +
    Status pack_json_tensor(const OutputView&, const ByteSink&) except +
