// A request's tensor -> values in memory, by the rules of TensorFlow's make_ndarray: tensor_content if not empty,
// else the typed list of the tensor's own dtype; a list shorter than the shape repeats its last value; no values at
// all are zeros; more values than elements, or an integer that does not fit its dtype, are refused.
#pragma once

#include <cstdint>
#include <string>

#include "dtype.hpp"
#include "status.hpp"
#include "tensor_ref.hpp"

namespace ovms {

// Writes count elements of dtype to at dst (aligned for it), converted from the tensor's own dtype from.
// Neither dtype is kString. count is the product of tensor.dims.
Status decode_numbers(const TensorRef& tensor, DType from, DType to, void* dst, uint64_t count);

// Writes count strings.
Status decode_strings(const TensorRef& tensor, std::string* dst, uint64_t count);

// Checks that tensor_content holds exactly count elements of dtype from.
Status check_content_size(const TensorRef& tensor, DType from, uint64_t count);

// Whether every byte is 0 or 1. tensor_content of DT_BOOL may hold others, which mean true but must not reach a model.
bool is_plain_bool(std::string_view content);

}  // namespace ovms
