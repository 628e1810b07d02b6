// Runs on one graph: many at once, or one alone.
#pragma once

#include <condition_variable>
#include <mutex>

#include "deadline.hpp"

namespace ovms {

// A shared lock with deadlines in which those who want to be alone go first: else steady traffic would starve them.
class RunGate {
public:
    // Both return false if the deadline passed first.
    bool enter(Deadline deadline) {
        std::unique_lock lock(mutex_);
        if (!wait(lock, deadline, [&] { return !alone_ && wanting_alone_ == 0; })) return false;
        ++inside_;
        return true;
    }
    bool enter_alone(Deadline deadline) {
        std::unique_lock lock(mutex_);
        ++wanting_alone_;
        const bool entered = wait(lock, deadline, [&] { return !alone_ && inside_ == 0; });
        --wanting_alone_;
        if (entered) alone_ = true;
        else changed_.notify_all();  // those who made way for this one
        return entered;
    }
    void leave() {
        const std::lock_guard lock(mutex_);
        if (alone_) alone_ = false;
        else --inside_;
        if (inside_ == 0) changed_.notify_all();
    }

private:
    template <class Ready>
    bool wait(std::unique_lock<std::mutex>& lock, Deadline deadline, Ready ready) {
        if (ready()) return true;
        if (deadline != Deadline::max()) return changed_.wait_until(lock, deadline, ready);
        changed_.wait(lock, ready);
        return true;
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    int inside_ = 0;
    int wanting_alone_ = 0;
    bool alone_ = false;
};

// Leaves the gate when it goes out of scope.
class Inside {
public:
    Inside(RunGate& gate, bool entered) : gate_(entered ? &gate : nullptr) {}
    Inside(const Inside&) = delete;
    ~Inside() { leave(); }

    explicit operator bool() const { return gate_ != nullptr; }
    void leave() {
        if (gate_ != nullptr) gate_->leave();
        gate_ = nullptr;
    }

private:
    RunGate* gate_;
};

}  // namespace ovms
