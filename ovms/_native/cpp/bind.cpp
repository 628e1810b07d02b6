#include "bind.hpp"

#include <algorithm>
#include <exception>
#include <string>

#include "tensor_decode.hpp"

namespace ovms {
namespace {

// Below this a memcpy into the slot's own buffer is cheaper than handing the infer request a new tensor: measured,
// setting one costs 1.3 us and makes the run 0.4 us longer; a memcpy of 64 KiB costs 1.3 us.
constexpr size_t kSmallestShared = 64 * 1024;

// A slot's own tensor above this is given up when a request needs less than a quarter of it.
constexpr size_t kLargestKept = 16 << 20;

// OpenVINO's types by row of kDTypes
const ov::element::Type& element_type(DType dtype) {
    static const std::vector<ov::element::Type> types = [] {
        std::vector<ov::element::Type> rows;
        for (const DTypeInfo& row : kDTypes) rows.emplace_back(std::string(row.openvino));
        return rows;
    }();
    return types[static_cast<size_t>(dtype)];
}

bool shareable(const CheckedInput& checked, const TensorSpec& spec) {
    const std::string_view content = checked.tensor->content;
    if (content.size() < kSmallestShared || checked.dtype != spec.dtype || spec.dtype == DType::kString) return false;
    if (reinterpret_cast<uintptr_t>(content.data()) % info(spec.dtype).size != 0) return false;
    return spec.dtype != DType::kBool || is_plain_bool(content);
}

ov::Shape shape_of(const Dims& dims) { return {dims.size.begin(), dims.size.begin() + static_cast<long>(dims.rank)}; }

// Gives the slot's own tensor another shape. Its memory grows with the largest request; what one giant needed is not
// kept for the small ones that follow. A tensor that was replaced is not yet known to the infer request.
void resize(ov::Tensor& own, DType dtype, const ov::Shape& shape, uint8_t& unknown) {
    const size_t before = own.get_byte_size();
    if (before > kLargestKept && ov::shape_size(shape) < own.get_size() / 4) {
        own = ov::Tensor(element_type(dtype), shape);
        unknown = 1;
    } else {
        own.set_shape(shape);
    }
}

// Strings keep the memory of the longest text they ever had. held: how much the tensor was given since it was made, which
// is no less.
void limit_strings(ov::Tensor& own, const TensorRef& tensor, uint64_t& held, uint8_t& unknown) {
    if (held > kLargestKept) {
        own = ov::Tensor(own.get_element_type(), own.get_shape());
        unknown = 1;
        held = 0;
    }
    held += tensor.body.size();
    for (const std::string_view piece : tensor.more) held += piece.size();
}

Status with_name(const Signature& signature, size_t input, Status status) {
    if (!status.ok()) status.message = "input " + quote_name(signature.inputs[input].name) + ": " + status.message;
    return status;
}

bool placeable(const OutputView& output) {
    const size_t element = info(output.dtype).size;
    return output.place != nullptr && output.count * element >= kSmallestPlaced && reinterpret_cast<uintptr_t>(output.place) % element == 0;
}

// An output that is one of the model's inputs, untouched, has that input's tensor, and no other: OpenVINO (2026.4.1) takes the
// output's port for the input's, so that to set the output's tensor would replace the input.
bool is_an_input(InferSlot& slot, size_t index) {
    const ov::Tensor output = slot.request.get_output_tensor(index);
    for (size_t input = 0; input < slot.own_inputs.size(); ++input) {
        if (slot.own_inputs[input].get_element_type() == ov::element::string) continue;
        if (slot.request.get_input_tensor(input).data() == output.data()) return true;
    }
    return false;
}

void place(const OutputView& output, size_t index, InferSlot& slot) {
    OutputMemory& memory = slot.output_memory[index];
    if (memory == OutputMemory::kUntried) {
        memory = is_an_input(slot, index) ? OutputMemory::kFixed : OutputMemory::kOwn;
        if (memory == OutputMemory::kOwn) slot.own_outputs[index] = slot.request.get_output_tensor(index);
    }
    if (memory == OutputMemory::kFixed) return;
    memory = OutputMemory::kPlaced;
    try {
        slot.request.set_output_tensor(index, ov::Tensor(element_type(output.dtype), shape_of(output.dims), output.place));
    } catch (const std::exception&) {  // a device that takes no memory of others: its outputs are copied from now on
        slot.request.set_output_tensor(index, slot.own_outputs[index]);
        memory = OutputMemory::kFixed;
    }
}

}  // namespace

Status bind_input(const Signature& signature, size_t input, const CheckedInput& checked, InferSlot& slot) {
    const TensorSpec& spec = signature.inputs[input];
    const TensorRef& tensor = *checked.tensor;
    if (shareable(checked, spec)) {
        if (Status status = check_content_size(tensor, checked.dtype, checked.count); !status.ok())
            return with_name(signature, input, std::move(status));
        // OpenVINO's constructor wants a mutable pointer; an infer request does not write to its inputs
        // (tests compare the bytes before and after).
        void* const data = const_cast<char*>(tensor.content.data());
        slot.request.set_input_tensor(input, ov::Tensor(element_type(spec.dtype), shape_of(tensor.dims), data));
        slot.own_is_unknown[input] = 1;
        return {};
    }
    // What will not fit is found out before memory of its size is asked for.
    if (!tensor.content.empty() && checked.dtype != DType::kString)
        if (Status status = check_content_size(tensor, checked.dtype, checked.count); !status.ok())
            return with_name(signature, input, std::move(status));
    ov::Tensor& own = slot.own_inputs[input];
    if (spec.dtype == DType::kString) limit_strings(own, tensor, slot.string_bytes[input], slot.own_is_unknown[input]);
    if (!spec.fixed) resize(own, spec.dtype, shape_of(tensor.dims), slot.own_is_unknown[input]);
    if (slot.own_is_unknown[input] != 0) {
        slot.request.set_input_tensor(input, own);
        slot.own_is_unknown[input] = 0;
    }
    if (checked.strings != nullptr) {
        auto* const strings = own.data<std::string>();
        for (uint64_t i = 0; i < checked.count; ++i) {
            strings[i] = checked.strings[i];
            slot.string_bytes[input] += strings[i].size();
        }
        return {};
    }
    return with_name(signature, input,
                     spec.dtype == DType::kString
                         ? decode_strings(tensor, own.data<std::string>(), checked.count)
                         : decode_numbers(tensor, checked.dtype, spec.dtype, own.data(), checked.count));
}

void bind_outputs(const std::vector<OutputView>& outputs, const std::vector<size_t>& order, InferSlot& slot) {
    // What was placed for a call before has its own tensor back, unless it is placed again.
    for (size_t index = 0; index < slot.output_memory.size(); ++index) {
        if (slot.output_memory[index] != OutputMemory::kPlaced) continue;
        const auto asked = static_cast<size_t>(std::find(order.begin(), order.end(), index) - order.begin());
        if (asked < outputs.size() && placeable(outputs[asked])) continue;
        slot.request.set_output_tensor(index, slot.own_outputs[index]);
        slot.output_memory[index] = OutputMemory::kOwn;
    }
    for (size_t i = 0; i < outputs.size(); ++i)
        if (placeable(outputs[i])) place(outputs[i], order[i], slot);
}

}  // namespace ovms
