// Request tensors -> the inputs of an infer request.
#pragma once

#include <string>
#include <vector>

#include "infer_slot.hpp"
#include "output_view.hpp"
#include "signature.hpp"
#include "status.hpp"
#include "tensor_ref.hpp"

namespace ovms {

// A request's tensor after the check: what it is, and how many elements.
struct CheckedInput {
    const TensorRef* tensor = nullptr;
    DType dtype = DType::kF32;  // as sent
    uint64_t count = 0;
    const std::string* strings = nullptr;  // the values, if they are strings that stand apart from the tensor
};

// Feeds one input. The infer request reads the request's own bytes when dtypes match, the content is aligned for its
// element type and is larger than what a copy costs; else the values are copied or converted into the slot's buffer.
// The request's bytes must outlive the run.
Status bind_input(const Signature& signature, size_t input, const CheckedInput& checked, InferSlot& slot);

// From this size on an output is worth writing where it is sent from.
inline constexpr size_t kSmallestPlaced = 64 * 1024;

// Has the model write the outputs that have a place there, small ones excepted, and all others into the slot's own tensors.
// order: the outputs' indices in the signature; outputs are as many, or none. The places must outlive the run; what is in an
// own tensor is for the caller to copy.
void bind_outputs(const std::vector<OutputView>& outputs, const std::vector<size_t>& order, InferSlot& slot);

}  // namespace ovms
