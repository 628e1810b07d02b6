// The infer requests of one model: a lease is the exclusive use of one of them for one run.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "infer_slot.hpp"
#include "run_queue.hpp"

namespace ovms {

class InferPool;

// Gives the slot back when it goes out of scope, whatever happened meanwhile.
class Lease {
public:
    Lease() = default;
    Lease(InferPool* pool, InferSlot* slot) : pool_(pool), slot_(slot) {}
    Lease(Lease&& other) noexcept : pool_(other.pool_), slot_(other.slot_) { other.slot_ = nullptr; }
    Lease& operator=(Lease&& other) noexcept {
        std::swap(pool_, other.pool_);
        std::swap(slot_, other.slot_);
        return *this;
    }
    ~Lease();

    explicit operator bool() const { return slot_ != nullptr; }
    InferSlot& operator*() const { return *slot_; }
    InferSlot* operator->() const { return slot_; }

private:
    InferPool* pool_ = nullptr;
    InferSlot* slot_ = nullptr;
};

class InferPool {
public:
    // Makes slots for so many runs at once; ahead: and some to get ready meanwhile. Throws what make throws.
    void fill(size_t nireq, bool ahead, const std::function<std::unique_ptr<InferSlot>()>& make);
    void clear();  // only when nothing is leased and nothing will be
    size_t nireq() const { return nireq_; }

    // How many may wait for a run at a time. Set before the first lease.
    void set_max_queue(size_t most) { max_queue_ = most; }
    size_t max_queue() const { return max_queue_; }

    // Which of several free slots a lease gets: the one that was free longest (on), else the one used last.
    void take_turns(bool on);

    // A free slot at once, or the next one given back, first come first served. An empty lease at the deadline, or at
    // once (full is true then) if as many wait as may. Of a model whose runs take long more slots are leased than may run:
    // runs() makes them wait.
    Lease lease(Deadline deadline, bool& full);

    // A slot for a thread that has others to serve, if runs here are known to take at most longest: a free one at once, or
    // one that is given back within about the time of a run. Else an empty lease. While who waits first is here, and has just
    // come, a slot that is given back goes to whoever is faster.
    Lease lease_quick(Clock::duration longest);

    // Where runs that take long wait for their turn.
    RunQueue& runs() { return runs_; }

    // Whether runs are known to take long. They go through runs() then.
    bool long_runs() const { return long_runs_.load(std::memory_order_relaxed); }

    // How many leases there may be now.
    size_t most_leases() const { return long_runs() ? slots_.size() : nireq_; }

private:
    friend class Lease;

    struct Waiter {  // lives on the waiting thread's stack
        std::condition_variable ready;
        InferSlot* slot = nullptr;
        bool quick = false;  // it would not wait for its turn, and is told of slots that become free
        bool told = false;   // of one, since it last looked
        Clock::time_point since;
    };

    void give_back(InferSlot* slot);
    void hand_over(InferSlot* slot);  // to the one that waits longest
    size_t waiting() const;
    InferSlot* spare();

    std::vector<std::unique_ptr<InferSlot>> slots_;
    size_t nireq_ = 0;
    // A lock on the hot path: held for a push or a pop, about 20 ns; a lock-free stack could not also
    // queue those who wait in order of arrival.
    std::mutex mutex_;
    std::vector<InferSlot*> free_;  // last in, first out: the slot used last is the warmest
    std::vector<InferSlot*> free_spares_;
    std::deque<Waiter*> waiting_;
    size_t max_queue_ = static_cast<size_t>(-1);
    bool turns_ = false;
    Clock::duration usual_run_ = Clock::duration::max();  // of the slot that was given back last, once it is known
    std::atomic<bool> long_runs_{false};                  // usual_run_ is known, and at least kLongRun
    RunQueue runs_;
};

}  // namespace ovms
