// What keeps a failed run of a model with dynamic shapes from harming other requests.
//
// OpenVINO's CPU plugin (seen in 2026.4.1) leaves a graph of dynamic shapes half updated when a run fails. The graph is
// not the infer request's own: a later run on it may fail too, or answer with values of an earlier client. So
// - shapes that do not fit together are found before the run, on a copy of the model that is never run;
// - a run that fails all the same (for values, not shapes) spoils the graph: the model is compiled afresh before the next
//   run, at the expense of the request that failed, and a run that overlapped the failure is not answered but repeated,
//   alone.
// Models of fixed shapes have none of this.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <openvino/runtime/compiled_model.hpp>
#include <shared_mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "bind.hpp"
#include "infer_pool.hpp"
#include "run_gate.hpp"
#include "status.hpp"

namespace ovms {

class DynamicGraph {
public:
    // What a run consists of. An interface and not two std::function, which would allocate.
    struct Steps {
        virtual Status bind() = 0;
        virtual Status infer() = 0;

    protected:
        ~Steps() = default;
    };

    // model: as read, kept for the check of shapes. compile: makes the compiled model once more.
    DynamicGraph(const ov::Model& model, std::function<ov::CompiledModel()> compile);

    // INVALID_ARGUMENT with OpenVINO's words if the inputs' shapes do not fit together. Shapes that were found good
    // before cost a look-up; new ones the propagation of shapes through the model, which is milliseconds.
    Status check_shapes(const std::vector<CheckedInput>& inputs, Deadline deadline);

    // Both steps, on a sound graph. slot is leased; the steps may be called twice.
    Status run(InferSlot& slot, Deadline deadline, Steps& steps);

private:
    bool spoiled(const InferSlot& slot) const { return slot.generation != generation_.load(std::memory_order_acquire); }
    void spoil(const InferSlot& slot);
    Status renew(InferSlot& slot);
    Status propagate(const std::vector<CheckedInput>& inputs);

    std::function<ov::CompiledModel()> compile_;
    RunGate gate_;
    ov::CompiledModel compiled_;           // used and changed only alone in the gate
    uint32_t compiled_generation_ = 0;     // likewise
    std::atomic<uint32_t> generation_{0};  // one more for every failure that spoiled a graph

    std::shared_ptr<ov::Model> shapes_;
    std::timed_mutex propagating_;
    std::shared_mutex known_mutex_;
    std::unordered_set<std::string> known_;  // shapes found good, as bytes
};

// Gives the slot a new infer request of compiled.
void fill_slot(ov::CompiledModel& compiled, size_t inputs, uint32_t generation, InferSlot& slot);

}  // namespace ovms
