#include "held_bytes.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace ovms::net {
namespace {

constexpr int64_t kStep = 256 << 10;  // so many bytes change in a thread before others get to know

std::atomic<int64_t> most{INT64_MAX / 2};
std::atomic<int64_t> held{0};

// Not every request touches the counter that all threads share.
class ThreadCount {
public:
    ~ThreadCount() { tell(); }
    void add(int64_t bytes) {
        untold_ += bytes;
        if (untold_ >= kStep || untold_ <= -kStep) tell();
    }
    void tell() {
        held.fetch_add(untold_, std::memory_order_relaxed);
        untold_ = 0;
    }

private:
    int64_t untold_ = 0;
};

thread_local ThreadCount count;

}  // namespace

void HeldBytes::limit_all(size_t bytes) {
    most.store(static_cast<int64_t>(std::min<size_t>(bytes, INT64_MAX / 2)), std::memory_order_relaxed);
}

size_t HeldBytes::all() {
    count.tell();
    return static_cast<size_t>(std::max<int64_t>(0, held.load(std::memory_order_relaxed)));
}

bool HeldBytes::grow(size_t bytes) {
    if (bytes <= bytes_) return true;
    const auto more = static_cast<int64_t>(bytes - bytes_);
    const int64_t limit = most.load(std::memory_order_relaxed);
    if (held.load(std::memory_order_relaxed) + more > (bytes > kLargeBytes ? limit : limit + limit / 4)) return false;
    count.add(more);
    bytes_ = bytes;
    return true;
}

void HeldBytes::release() {
    if (bytes_ == 0) return;
    count.add(-static_cast<int64_t>(bytes_));
    bytes_ = 0;
}

}  // namespace ovms::net
