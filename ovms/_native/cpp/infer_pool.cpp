#include "infer_pool.hpp"

#include <algorithm>
#include <iterator>

namespace ovms {
namespace {

// Calls that have their infer request ready while others run: one for each run that may end meanwhile. Each costs a copy
// of the model's inputs and outputs.
constexpr size_t kMostSpares = 8;

// For how long others may be faster than a thread that waits for a short run. Two threads on two cores had up to twice the
// calls of a model of ten numbers than without it.
constexpr auto kPatience = std::chrono::microseconds(100);

}  // namespace

Lease::~Lease() {
    if (slot_ != nullptr) pool_->give_back(slot_);
}

void InferPool::fill(size_t nireq, bool ahead, const std::function<std::unique_ptr<InferSlot>()>& make) {
    nireq_ = nireq;
    runs_.set_most(nireq);
    const size_t all = nireq + (ahead ? std::min(nireq, kMostSpares) : 0);
    slots_.reserve(all);
    free_.reserve(nireq);
    free_spares_.reserve(all - nireq);
    while (slots_.size() < all) {
        slots_.push_back(make());
        InferSlot* const slot = slots_.back().get();
        slot->spare = slots_.size() > nireq;
        (slot->spare ? free_spares_ : free_).push_back(slot);
    }
}

void InferPool::clear() {
    const std::lock_guard lock(mutex_);
    free_.clear();
    free_spares_.clear();
    slots_.clear();
}

void InferPool::take_turns(bool on) {
    const std::lock_guard lock(mutex_);
    turns_ = on;
}

// For a run, with a slot or without.
size_t InferPool::waiting() const {
    const size_t leased = slots_.size() - free_.size() - free_spares_.size();
    return waiting_.size() + (leased > nireq_ ? leased - nireq_ : 0);
}

// A slot to get ready while as many run as may; null if there is none now.
InferSlot* InferPool::spare() {
    if (free_spares_.empty() || !long_runs() || turns_ || !waiting_.empty() || waiting() >= max_queue_) return nullptr;
    InferSlot* const slot = free_spares_.back();
    free_spares_.pop_back();
    if (slot->runs < kRunsToKnow) {
        slot->usual_run = usual_run_;
        slot->runs = kRunsToKnow;
    }
    return slot;
}

Lease InferPool::lease(Deadline deadline, bool& full) {
    full = false;
    std::unique_lock lock(mutex_);
    if (!free_.empty()) {
        const auto place = turns_ ? free_.begin() : std::prev(free_.end());
        InferSlot* slot = *place;
        free_.erase(place);
        return {this, slot};
    }
    if (InferSlot* const slot = spare(); slot != nullptr) return {this, slot};
    if (waiting() >= max_queue_) {
        full = true;
        return {};
    }
    Waiter waiter;
    waiting_.push_back(&waiter);
    const auto handed = [&] { return waiter.slot != nullptr; };
    if (deadline == Deadline::max()) {
        waiter.ready.wait(lock, handed);
    } else if (!waiter.ready.wait_until(lock, deadline, handed)) {
        waiting_.erase(std::find(waiting_.begin(), waiting_.end(), &waiter));
        return {};
    }
    return {this, waiter.slot};
}

Lease InferPool::lease_quick(Clock::duration longest) {
    std::unique_lock lock(mutex_);
    if (usual_run_ > longest || turns_) return {};
    if (!free_.empty()) {
        InferSlot* const slot = free_.back();
        free_.pop_back();
        return {this, slot};
    }
    // Whoever has the slots is about to give one back: to wait for that is cheaper than to give the call to another thread,
    // which would have to wait for it as well; and calls once given away would keep the slots from those that follow.
    Waiter waiter;
    waiter.quick = true;
    waiter.since = Clock::now();
    waiting_.push_back(&waiter);
    const auto last = waiter.since + 2 * longest;
    while (waiter.slot == nullptr) {
        const bool news = waiter.ready.wait_until(lock, last, [&] { return waiter.slot != nullptr || waiter.told; });
        if (waiter.slot != nullptr) break;
        waiter.told = false;
        if (news && free_.empty()) continue;  // whoever told this one has it again
        waiting_.erase(std::find(waiting_.begin(), waiting_.end(), &waiter));
        if (!news) return {};
        waiter.slot = free_.back();
        free_.pop_back();
    }
    // Of several that were given back at once this one took one; those who wait behind it were not told.
    while (!free_.empty() && !waiting_.empty()) {
        InferSlot* const other = free_.back();
        free_.pop_back();
        hand_over(other);
    }
    return {this, waiter.slot};
}

void InferPool::give_back(InferSlot* slot) {
    const std::lock_guard lock(mutex_);
    if (slot->runs >= kRunsToKnow) {
        usual_run_ = slot->usual_run;
        long_runs_.store(usual_run_ >= kLongRun, std::memory_order_relaxed);
    }
    // Where runs have become short, no spare is needed.
    const bool retired = slot->spare && (!long_runs() || (!waiting_.empty() && waiting_.front()->quick));
    if (waiting_.empty() || retired) {
        (slot->spare ? free_spares_ : free_).push_back(slot);
        return;
    }
    Waiter* const next = waiting_.front();
    // A thread that answers one call after another goes on with the next while this one wakes up, which takes longer than
    // a run: else both would sleep and wake once for each call.
    if (next->quick && Clock::now() - next->since < kPatience) {
        free_.push_back(slot);
        if (!std::exchange(next->told, true)) next->ready.notify_one();
        return;
    }
    // Directly: a slot that went to the free list first could be taken by a newcomer.
    hand_over(slot);
}

void InferPool::hand_over(InferSlot* slot) {
    Waiter* const next = waiting_.front();
    waiting_.pop_front();
    next->slot = slot;
    // Under the lock, because the waiter's stack frame is gone as soon as it may run.
    next->ready.notify_one();
}

}  // namespace ovms
