#include "infer_pool.hpp"

#include <algorithm>
#include <iterator>

namespace ovms {

Lease::~Lease() {
    if (slot_ != nullptr) pool_->give_back(slot_);
}

void InferPool::add(std::unique_ptr<InferSlot> slot) {
    const std::lock_guard lock(mutex_);
    free_.push_back(slot.get());
    slots_.push_back(std::move(slot));
}

void InferPool::clear() {
    const std::lock_guard lock(mutex_);
    free_.clear();
    slots_.clear();
}

void InferPool::take_turns(bool on) {
    const std::lock_guard lock(mutex_);
    turns_ = on;
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
    if (waiting_.size() >= max_queue_) {
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
    waiting_.push_back(&waiter);
    if (!waiter.ready.wait_for(lock, 2 * longest, [&] { return waiter.slot != nullptr; })) {
        waiting_.erase(std::find(waiting_.begin(), waiting_.end(), &waiter));
        return {};
    }
    return {this, waiter.slot};
}

void InferPool::give_back(InferSlot* slot) {
    const std::lock_guard lock(mutex_);
    if (slot->runs >= kRunsToKnow) usual_run_ = slot->usual_run;
    if (waiting_.empty()) {
        free_.push_back(slot);
        return;
    }
    // Handed over directly: a slot that went to the free list first could be taken by a newcomer.
    Waiter* const next = waiting_.front();
    waiting_.pop_front();
    next->slot = slot;
    // Under the lock, because the waiter's stack frame is gone as soon as it may run.
    next->ready.notify_one();
}

}  // namespace ovms
