// Which of a model's leased infer requests run now: at most so many; the next one is started by the one that ends.
#pragma once

#include <atomic>
#include <cstddef>
#include <deque>
#include <exception>
#include <mutex>

#include "infer_slot.hpp"

namespace ovms {

// For runs that take long. A run that another thread had to begin would leave the stream idle for as long as it takes to
// wake that thread, some 20 to 100 us after each. So a call gets its infer request ready while others run, and waits here;
// the thread on which a run ends, OpenVINO's own, starts the next one, and its stream goes on without sleeping.
class RunQueue {
public:
    enum class Outcome : uint8_t { kDone, kLate, kLeft };

    // How many may run at once. Set before the first run.
    void set_most(size_t most) { most_ = most; }

    // Runs the slot's request when its turn comes, first come first served, and returns when it is done; throws what its run
    // threw. No run if the deadline passes before its turn, or if *left (may be null) is set then. slot.began and slot.ended
    // tell when it ran. The slot is the caller's own.
    Outcome run(InferSlot& slot, Deadline deadline, const std::atomic<bool>* left);

private:
    void ended(InferSlot& slot, const std::exception_ptr& error);
    void start_next();

    // Held for a push or a pop. Runs of models that are known to be short do without it.
    std::mutex mutex_;
    std::deque<InferSlot*> ready_;
    size_t most_ = 1;
    size_t running_ = 0;
};

}  // namespace ovms
