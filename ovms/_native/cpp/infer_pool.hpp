// The infer requests of one model: a lease is the exclusive use of one of them for one run.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <openvino/runtime/infer_request.hpp>
#include <vector>

namespace ovms {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;  // Deadline::max(): none

// The point in time seconds from now; no deadline if seconds is negative, not a number, or over a century.
inline Deadline deadline_after(double seconds) {
    if (!(seconds >= 0 && seconds < 3.2e9)) return Deadline::max();
    return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// Seconds until then, at least 0; -1 without a deadline.
inline double seconds_left(Deadline deadline) {
    if (deadline == Deadline::max()) return -1;
    return std::max(0.0, std::chrono::duration<double>(deadline - Clock::now()).count());
}

// After so many runs usual_run says something: it starts at zero and rises slowly.
inline constexpr uint32_t kRunsToKnow = 16;

// What an infer request writes an output to.
enum class OutputMemory : uint8_t {
    kUntried,  // its own tensor, as it was born with
    kOwn,      // its own tensor
    kPlaced,   // the memory of an answer, which may have gone since
    kFixed,    // its own tensor; it takes no other
};

// One OpenVINO execution slot, with the tensors it was born with.
struct InferSlot {
    ov::InferRequest request;
    std::vector<ov::Tensor> own_inputs;   // buffers of the slot, for inputs that have to be copied
    std::vector<uint64_t> string_bytes;     // by input: bytes of strings that own_inputs was given since it was made
    std::vector<uint8_t> input_is_foreign;  // 1: the request reads a client's memory now
    std::vector<ov::Tensor> own_outputs;    // empty until an output was first written elsewhere
    std::vector<OutputMemory> output_memory;  // by output
    Clock::duration usual_run{0};           // how long its runs take, short ones counting most
    uint32_t runs = 0;                      // how many there were, up to kRunsToKnow
    uint32_t generation = 0;                // of the graph the request runs on, see DynamicGraph
};

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
    void add(std::unique_ptr<InferSlot> slot);
    void clear();  // only when nothing is leased and nothing will be
    size_t size() const { return slots_.size(); }

    // How many may wait for a slot at a time. Set before the first lease.
    void set_max_queue(size_t most) { max_queue_ = most; }
    size_t max_queue() const { return max_queue_; }

    // Which of several free slots a lease gets: the one that was free longest (on), else the one used last.
    void take_turns(bool on);

    // A free slot at once, or the next one given back, first come first served. An empty lease at the deadline, or at
    // once (full is true then) if as many wait as may.
    Lease lease(Deadline deadline, bool& full);

    // A slot for a thread that has others to serve, if runs here are known to take at most longest: a free one at once, or
    // one that is given back within about the time of a run. Else an empty lease.
    Lease lease_quick(Clock::duration longest);

private:
    friend class Lease;

    struct Waiter {  // lives on the waiting thread's stack
        std::condition_variable ready;
        InferSlot* slot = nullptr;
    };

    void give_back(InferSlot* slot);

    std::vector<std::unique_ptr<InferSlot>> slots_;
    // A lock on the hot path: held for a push or a pop, about 20 ns; a lock-free stack could not also
    // queue those who wait in order of arrival.
    std::mutex mutex_;
    std::vector<InferSlot*> free_;  // last in, first out: the slot used last is the warmest
    std::deque<Waiter*> waiting_;
    size_t max_queue_ = static_cast<size_t>(-1);
    bool turns_ = false;
    Clock::duration usual_run_ = Clock::duration::max();  // of the slot that was given back last, once it is known
};

}  // namespace ovms
