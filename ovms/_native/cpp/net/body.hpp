// The bytes of one message as they arrive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "held_bytes.hpp"

namespace ovms::net {

// One growing piece of memory. Its first byte lies where its owner wants it in relation to a multiple of 64, so that a
// tensor in the middle can be aligned; behind its last byte there is always a zero, which the JSON reader needs.
class Body {
public:
    Body() = default;
    Body(Body&& other) noexcept { swap(other); }
    Body& operator=(Body&& other) noexcept {
        swap(other);
        return *this;
    }
    ~Body() { clear(); }

    // Gets ready for a message of about expected bytes whose first one shall lie shift bytes behind a multiple of 64. What a
    // peer claims is believed up to 16 MiB; beyond that memory follows what it has sent. False: there is no memory.
    bool begin(size_t expected, size_t shift = 0);

    // False: there is no memory, or the process would hold more than it may.
    bool append(const uint8_t* data, size_t size);

    void clear();

    const uint8_t* data() const { return start_; }
    size_t size() const { return size_; }

private:
    void swap(Body& other) noexcept {
        std::swap(block_, other.block_);
        std::swap(start_, other.start_);
        std::swap(size_, other.size_);
        std::swap(capacity_, other.capacity_);
        std::swap(shift_, other.shift_);
        std::swap(held_, other.held_);
    }
    bool grow(size_t capacity);

    uint8_t* block_ = nullptr;  // as it came from malloc
    uint8_t* start_ = nullptr;
    size_t size_ = 0;
    size_t capacity_ = 0;
    size_t shift_ = 0;
    HeldBytes held_;
};

}  // namespace ovms::net
