// The one dtype table: every name a tensor's element type goes by, and how the APIs carry it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ovms {

// The order is the row number in kDTypes.
enum class DType : uint8_t {
    kF32, kF64, kF16, kBF16, kI8, kI16, kI32, kI64, kU8, kU16, kU32, kU64, kBool, kString,
};
inline constexpr size_t kDTypeCount = 14;

struct DTypeInfo {
    DType dtype;
    std::string_view openvino;  // ov::element::Type's name
    std::string_view tf_name;   // tensorflow.DataType's name
    uint8_t tf;                 // tensorflow.DataType's number
    std::string_view kserve;    // Open Inference Protocol datatype
    std::string_view numpy;     // NumPy dtype name; bfloat16 is ml_dtypes'
    uint8_t size;               // bytes of one element; 0 for strings
    uint8_t list_field;         // TensorProto field number of its typed list
    bool content;               // make_tensor_proto writes tensor_content for more than one element
};

// tensorflow/core/framework/types.proto and tensor.proto give numbers and lists;
// tensor_util.py's _TENSOR_CONTENT_TYPES gives the last column.
inline constexpr std::array<DTypeInfo, kDTypeCount> kDTypes{{
    {DType::kF32, "f32", "DT_FLOAT", 1, "FP32", "float32", 4, 5, true},
    {DType::kF64, "f64", "DT_DOUBLE", 2, "FP64", "float64", 8, 6, true},
    {DType::kF16, "f16", "DT_HALF", 19, "FP16", "float16", 2, 13, true},
    {DType::kBF16, "bf16", "DT_BFLOAT16", 14, "BF16", "bfloat16", 2, 13, true},
    {DType::kI8, "i8", "DT_INT8", 6, "INT8", "int8", 1, 7, true},
    {DType::kI16, "i16", "DT_INT16", 5, "INT16", "int16", 2, 7, true},
    {DType::kI32, "i32", "DT_INT32", 3, "INT32", "int32", 4, 7, true},
    {DType::kI64, "i64", "DT_INT64", 9, "INT64", "int64", 8, 10, true},
    {DType::kU8, "u8", "DT_UINT8", 4, "UINT8", "uint8", 1, 7, true},
    {DType::kU16, "u16", "DT_UINT16", 17, "UINT16", "uint16", 2, 7, false},
    {DType::kU32, "u32", "DT_UINT32", 22, "UINT32", "uint32", 4, 16, true},
    {DType::kU64, "u64", "DT_UINT64", 23, "UINT64", "uint64", 8, 17, true},
    {DType::kBool, "boolean", "DT_BOOL", 10, "BOOL", "bool", 1, 11, false},
    {DType::kString, "string", "DT_STRING", 7, "BYTES", "object", 0, 8, false},
}};

inline constexpr const DTypeInfo& info(DType dtype) { return kDTypes[static_cast<size_t>(dtype)]; }

// The row of a tensorflow.DataType number, or nullptr when no model can take it.
inline constexpr const DTypeInfo* from_tf(uint64_t number) {
    for (const auto& row : kDTypes)
        if (row.tf == number) return &row;
    return nullptr;
}

inline constexpr const DTypeInfo* from_openvino(std::string_view name) {
    for (const auto& row : kDTypes)
        if (row.openvino == name) return &row;
    return nullptr;
}

static_assert([] {
    for (size_t i = 0; i < kDTypeCount; ++i)
        if (static_cast<size_t>(kDTypes[i].dtype) != i) return false;
    return true;
}());

}  // namespace ovms
