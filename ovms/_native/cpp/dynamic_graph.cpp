#include "dynamic_graph.hpp"

#include <exception>

namespace ovms {
namespace {

Status too_late() { return {Code::kDeadlineExceeded, "the model could not be run within the deadline"}; }

}  // namespace

void fill_slot(ov::CompiledModel& compiled, size_t inputs, uint32_t generation, InferSlot& slot) {
    ov::InferRequest request = compiled.create_infer_request();
    std::vector<ov::Tensor> own;
    for (size_t input = 0; input < inputs; ++input) own.push_back(request.get_input_tensor(input));
    std::vector<uint64_t> string_bytes(inputs);
    // A graph of dynamic inputs (OpenVINO 2026.4.1) copies what a request was born with to where the input of the run before
    // lies, be it another request's or a message that has gone. It reads what a request was given where that is.
    std::vector<uint8_t> unknown(inputs);
    for (size_t input = 0; input < inputs; ++input) unknown[input] = compiled.input(input).get_partial_shape().is_dynamic();
    const size_t outputs = compiled.outputs().size();
    std::vector<ov::Tensor> own_outputs(outputs);
    std::vector<OutputMemory> output_memory(outputs, OutputMemory::kUntried);
    slot.request = std::move(request);  // from here on nothing fails: a slot is whole, or as it was
    slot.own_inputs = std::move(own);
    slot.string_bytes = std::move(string_bytes);
    slot.own_is_unknown = std::move(unknown);
    slot.own_outputs = std::move(own_outputs);
    slot.output_memory = std::move(output_memory);
    slot.generation = generation;
    slot.turn.told = false;
}

Status DynamicGraph::run(InferSlot& slot, Deadline deadline, Steps& steps) {
    Status failure;
    {
        const Inside inside(gate_, gate_.enter(deadline));
        if (!inside) return too_late();
        if (!spoiled(slot)) {
            if (Status status = steps.bind(); !status.ok()) return status;
            failure = steps.infer();
            if (!spoiled(slot)) return failure;
        }
    }
    // This run failed, or overlapped one that did, or the slot is of a spoiled graph.
    const Inside alone(gate_, gate_.enter_alone(deadline));
    if (!alone) return failure.ok() ? too_late() : failure;  // whoever leases the slot next renews it
    if (Status status = renew(slot); !status.ok()) return status;
    if (!failure.ok()) return failure;
    if (Status status = steps.bind(); !status.ok()) return status;
    failure = steps.infer();
    if (!failure.ok()) (void)renew(slot);  // a failure here comes back at the slot's next run
    return failure;
}

void DynamicGraph::spoil(const InferSlot& slot) {
    uint32_t generation = slot.generation;  // two runs that fail on one graph are one reason to compile
    generation_.compare_exchange_strong(generation, generation + 1, std::memory_order_acq_rel);
}

Status DynamicGraph::renew(InferSlot& slot) {
    const uint32_t generation = generation_.load(std::memory_order_acquire);
    if (slot.generation == generation) return {};
    try {
        if (compiled_generation_ != generation) {
            compiled_ = compile_();
            compiled_generation_ = generation;
        }
        fill_slot(compiled_, slot.own_inputs.size(), generation, slot);
        return {};
    } catch (const std::bad_alloc&) {
        return {Code::kResourceExhausted, "out of memory while compiling the model once more"};
    } catch (const std::exception& error) {
        return {Code::kInternal, std::string("compiling the model once more: ") + error.what()};
    }
}

}  // namespace ovms
