// tensorflow.serving.PredictRequest, read in place. Field numbers: predict.proto, model.proto, tensor.proto,
// tensor_shape.proto of tensorflow/serving and tensorflow.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "byte_reader.hpp"
#include "tensor_ref.hpp"

namespace ovms {

struct ModelSpecRef {
    bool present = false;
    std::string_view name;
    std::string_view signature_name;
    bool has_version = false;  // the oneof: version or label, or neither
    int64_t version = 0;
    bool has_label = false;
    std::string_view label;
};

struct NamedTensorRef {
    std::string_view name;
    TensorRef tensor;
};

// More map entries, filter names or pieces of one tensor than this are refused: no model has as many, and each costs
// memory.
inline constexpr size_t kMaxEntries = 4096;

struct PredictRequestRef {
    ModelSpecRef model_spec;
    std::vector<NamedTensorRef> inputs;  // map entries in wire order; of a repeated name the last counts
    std::vector<std::string_view> output_filter;

    void clear();
};

// Reads the structure of a PredictRequest as google.protobuf does: any field order, split sub-messages
// merged, unknown fields skipped. No tensor value is read or copied. The views point into data.
bool parse_predict_request(const uint8_t* data, size_t size, PredictRequestRef& out, WireError& error);

// Reads one TensorProto on its own (for the codec's tests, its fuzz target and benchmarks).
bool parse_tensor(const uint8_t* data, size_t size, TensorRef& out, WireError& error);

}  // namespace ovms
