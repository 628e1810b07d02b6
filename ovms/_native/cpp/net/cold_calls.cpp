#include "cold_calls.hpp"

namespace ovms::net {

void ColdQueue::push(Event event) {
    {
        const std::lock_guard lock(mutex_);
        if (closed_) return;
        events_.push_back(std::move(event));
    }
    news_.notify_one();
}

bool ColdQueue::pop(Event& event) {
    std::unique_lock lock(mutex_);
    news_.wait(lock, [this] { return closed_ || !events_.empty(); });
    if (closed_) return false;
    event = std::move(events_.front());
    events_.pop_front();
    return true;
}

void ColdQueue::close() {
    {
        const std::lock_guard lock(mutex_);
        closed_ = true;
        events_.clear();
    }
    news_.notify_all();
}

}  // namespace ovms::net
