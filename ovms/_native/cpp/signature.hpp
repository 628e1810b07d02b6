// A model's signature: its named, typed, shaped inputs and outputs, and the check of a request against it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dtype.hpp"
#include "status.hpp"
#include "tensor_ref.hpp"
#include "utf8.hpp"

namespace ovms {

struct Dimension {
    int64_t min = 0;
    int64_t max = -1;  // -1: no upper bound

    bool fixed() const { return min == max; }
    bool takes(int64_t size) const { return size >= min && (max < 0 || size <= max); }
};

// What decides the shape of an input, for an error's advice
enum class ShapeRule : uint8_t { kModel, kConfigured, kBatch, kAuto, kBatchAuto };

struct TensorSpec {
    std::string name;         // what clients call it
    std::string tensor_name;  // what the model calls it
    DType dtype = DType::kF32;
    bool any_rank = false;
    std::vector<Dimension> dims;  // empty for a scalar; meaningless when any_rank
    bool fixed = false;           // every dimension is known
    ShapeRule rule = ShapeRule::kModel;
    std::string model_shape;      // the model's own, as text
    std::vector<int64_t> example;  // by dimension: a size that is likely to work, -1 where nothing hints at one

    // "[1, 3, 224:512, -1]": a range for a bounded dimension, -1 for a free one
    std::string shape_text() const;
};

struct Signature {
    std::vector<TensorSpec> inputs;
    std::vector<TensorSpec> outputs;
};

inline constexpr size_t kNoTensor = static_cast<size_t>(-1);

// The index of name, or kNoTensor. A scan: models have a handful of tensors, and a scan needs no hash.
size_t find_tensor(const std::vector<TensorSpec>& tensors, std::string_view name);

// The names as Python prints a list of strings: "['a', 'b']", cut when there are very many.
std::string name_list(const std::vector<TensorSpec>& tensors);
std::string name_list(const std::vector<std::string_view>& names);

// Whether a tensor of these dimensions may be fed to input. The first words of each text are ie_serving's; then come the
// input's name and what in the configuration would allow it.
Status check_shape(const Signature& signature, size_t input, const Dims& dims);

}  // namespace ovms
