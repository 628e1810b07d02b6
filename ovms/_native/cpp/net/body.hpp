// The bytes of one message as they arrive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

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

    // False: there is no memory, or all bodies together would have more than their limit.
    bool append(const uint8_t* data, size_t size);

    void clear();

    const uint8_t* data() const { return start_; }
    size_t size() const { return size_; }

    // The most bytes that all bodies of the process may have together; those up to 64 KiB each are not counted.
    static void limit_all(size_t bytes);
    static size_t held_by_all();

private:
    void swap(Body& other) noexcept {
        std::swap(block_, other.block_);
        std::swap(start_, other.start_);
        std::swap(size_, other.size_);
        std::swap(capacity_, other.capacity_);
        std::swap(shift_, other.shift_);
        std::swap(counted_, other.counted_);
    }
    bool grow(size_t capacity);
    bool count(size_t size);

    uint8_t* block_ = nullptr;  // as it came from malloc
    uint8_t* start_ = nullptr;
    size_t size_ = 0;
    size_t capacity_ = 0;
    size_t shift_ = 0;
    size_t counted_ = 0;
};

}  // namespace ovms::net
