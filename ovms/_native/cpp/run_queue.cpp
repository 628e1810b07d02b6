#include "run_queue.hpp"

#include <algorithm>

#include "dynamic_graph.hpp"
#include "ticks.hpp"

namespace ovms {

using State = Turn::State;

RunQueue::Outcome RunQueue::run(InferSlot& slot, Deadline deadline, const std::atomic<bool>* left) {
    Turn& turn = slot.turn;
    if (!turn.told) {
        // The request outlives its callback's last use: whoever has the slot waits for that.
        slot.request.set_callback([this, &slot](const std::exception_ptr& error) { ended(slot, error); });
        turn.told = true;
    }
    std::unique_lock lock(mutex_);
    if (running_ < most_) {
        ++running_;
        turn.state = State::kRunning;
        slot.began = ticks_now();
        lock.unlock();
        try {
            slot.request.start_async();
        } catch (...) {
            turn.state = State::kNone;
            start_next();
            throw;
        }
    } else {
        turn.state = State::kReady;
        turn.deadline = deadline;
        turn.left = left;
        ready_.push_back(&slot);
        const auto decided = [&] { return turn.state != State::kReady && turn.state != State::kRunning; };
        if (deadline == Deadline::max()) {
            turn.changed.wait(lock, decided);
        } else if (!turn.changed.wait_until(lock, deadline, decided) && turn.state == State::kReady) {
            ready_.erase(std::find(ready_.begin(), ready_.end(), &slot));
            turn.state = State::kNone;
            return Outcome::kLate;
        }
        // A run that has begun is waited for, whatever the deadline: request.wait() would be too early as long as the thread
        // that begins it has not called start_async.
        turn.changed.wait(lock, decided);
        const State state = turn.state;
        if (state == State::kRefused) return Clock::now() >= deadline ? Outcome::kLate : Outcome::kLeft;
        if (state == State::kFailed) std::rethrow_exception(std::exchange(turn.error, nullptr));
        lock.unlock();
    }
    // Whether the wait ends well or throws: other threads have read and written the slot, under the lock.
    const struct Seen {
        std::mutex& mutex;
        ~Seen() { const std::lock_guard lock(mutex); }
    } seen{mutex_};
    slot.request.wait();  // for the callback's end, too
    return Outcome::kDone;
}

// On the thread on which the run has ended.
void RunQueue::ended(InferSlot& slot, const std::exception_ptr& error) {
    slot.ended = ticks_now();
    // Before another run may start on what this one has left.
    if (error != nullptr && slot.graph != nullptr) slot.graph->spoil(slot);
    start_next();
    const std::lock_guard lock(mutex_);
    slot.turn.state = State::kNone;
    slot.turn.changed.notify_one();
}

// Passes a turn on.
void RunQueue::start_next() {
    std::unique_lock lock(mutex_);
    while (!ready_.empty()) {
        InferSlot& next = *ready_.front();
        Turn& turn = next.turn;
        ready_.pop_front();
        const bool unwanted = (turn.left != nullptr && turn.left->load(std::memory_order_relaxed)) ||
                              (turn.deadline != Deadline::max() && Clock::now() >= turn.deadline);
        if (unwanted) {
            turn.state = State::kRefused;
            turn.changed.notify_one();
            continue;
        }
        turn.state = State::kRunning;
        next.began = ticks_now();
        lock.unlock();
        try {
            next.request.start_async();
            return;
        } catch (...) {
            lock.lock();
            turn.error = std::current_exception();
            turn.state = State::kFailed;
            turn.changed.notify_one();
        }
    }
    --running_;
}

}  // namespace ovms
