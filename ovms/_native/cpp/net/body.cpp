#include "body.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace ovms::net {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kBelieved = 16 << 20;
constexpr size_t kSmallest = 512;

}  // namespace

bool Body::begin(size_t expected, size_t shift) {
    shift_ = shift % kAlignment;
    return grow(std::max(kSmallest, std::min(expected, kBelieved)));
}

bool Body::append(const uint8_t* data, size_t size) {
    const size_t wanted = size_ + size;
    if (!held_.grow(wanted)) return false;
    if (wanted > capacity_ && !grow(std::max(wanted, capacity_ * 2))) return false;
    std::memcpy(start_ + size_, data, size);
    size_ = wanted;
    start_[size_] = 0;
    return true;
}

void Body::clear() {
    std::free(block_);
    held_.release();
    block_ = start_ = nullptr;
    size_ = capacity_ = 0;
}

bool Body::grow(size_t capacity) {
    auto* const block = static_cast<uint8_t*>(std::malloc(capacity + 2 * kAlignment + 1));
    if (block == nullptr) return false;
    const auto address = reinterpret_cast<uintptr_t>(block);
    uint8_t* const start = block + ((kAlignment - address % kAlignment) % kAlignment) + shift_;
    if (size_ != 0) std::memcpy(start, start_, size_);
    start[size_] = 0;
    std::free(block_);
    block_ = block;
    start_ = start;
    capacity_ = capacity;
    return true;
}

}  // namespace ovms::net
