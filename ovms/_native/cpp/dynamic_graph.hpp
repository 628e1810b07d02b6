// What keeps a failed run of a model with dynamic shapes from harming other requests.
//
// OpenVINO's CPU plugin (seen in 2026.4.1) leaves a graph of dynamic shapes half updated when a run fails. The graph is
// not the infer request's own: a later run on it may fail too, or answer with values of an earlier client. So
// - shapes that do not fit together are found before the run (shape_check.hpp);
// - a run that fails all the same (for values, not shapes) spoils the graph: the model is compiled afresh before the next
//   run, at the expense of the request that failed, and a run that overlapped the failure is not answered but repeated,
//   alone.
// Models of fixed shapes have none of this.
#pragma once

#include <atomic>
#include <functional>
#include <openvino/runtime/compiled_model.hpp>

#include "infer_slot.hpp"
#include "run_gate.hpp"
#include "status.hpp"

namespace ovms {

class DynamicGraph {
public:
    // What a run consists of. An interface and not two std::function, which would allocate.
    struct Steps {
        virtual Status bind() = 0;
        // What fails has been told to spoil, unless there was no run.
        virtual Status infer() = 0;

    protected:
        ~Steps() = default;
    };

    // compile: makes the compiled model once more.
    explicit DynamicGraph(std::function<ov::CompiledModel()> compile) : compile_(std::move(compile)) {}

    // Both steps, on a sound graph. slot is leased; the steps may be called twice.
    Status run(InferSlot& slot, Deadline deadline, Steps& steps);

    // A run of the slot has failed. To be called before another run may start on the same graph; from any thread.
    void spoil(const InferSlot& slot);

private:
    bool spoiled(const InferSlot& slot) const { return slot.generation != generation_.load(std::memory_order_acquire); }
    Status renew(InferSlot& slot);

    std::function<ov::CompiledModel()> compile_;
    RunGate gate_;
    ov::CompiledModel compiled_;           // used and changed only alone in the gate
    uint32_t compiled_generation_ = 0;     // likewise
    std::atomic<uint32_t> generation_{0};  // one more for every failure that spoiled a graph
};

// Gives the slot a new infer request of compiled.
void fill_slot(ov::CompiledModel& compiled, size_t inputs, uint32_t generation, InferSlot& slot);

}  // namespace ovms
