// The bytes of one answer, with room for a frame's head in front of them. One byte of the answer can be aligned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string_view>

#include "../output_view.hpp"
#include "held_bytes.hpp"

namespace ovms::net {

class Answer {
public:
    static constexpr size_t kHead = 8;  // bytes that may be put in front

    uint8_t* data() const { return data_; }
    size_t size() const { return size_; }
    std::string_view text() const { return {reinterpret_cast<const char*>(data()), size_}; }

    // nullptr: there is no memory, or the process holds too much already.
    uint8_t* allocate(size_t size) { return reserve(size, 0) ? data_ = block_.get() + kHead : nullptr; }

    // Byte number aligned will lie at a multiple of 64.
    uint8_t* allocate_aligned(size_t size, size_t aligned) {
        if (!reserve(size, kAlignment - 1)) return nullptr;
        const size_t off = (reinterpret_cast<uintptr_t>(block_.get()) + kHead + aligned) % kAlignment;
        return data_ = block_.get() + kHead + (kAlignment - off) % kAlignment;
    }
    void shrink(size_t size) { size_ = size; }
    void clear() {
        block_.reset();
        size_ = 0;
        held_.release();
    }

    // For a codec that writes into this answer.
    ByteSink sink() {
        return {[](void* self, size_t size) { return static_cast<Answer*>(self)->allocate(size); },
                [](void* self, size_t size) { static_cast<Answer*>(self)->shrink(size); }, this,
                [](void* self, size_t size, size_t aligned) { return static_cast<Answer*>(self)->allocate_aligned(size, aligned); }};
    }

private:
    static constexpr size_t kAlignment = 64;

    bool reserve(size_t size, size_t spare) {
        clear();
        if (!held_.grow(size)) return false;
        block_.reset(new (std::nothrow) uint8_t[kHead + size + spare]);
        size_ = block_ == nullptr ? 0 : size;
        return block_ != nullptr;
    }

    std::unique_ptr<uint8_t[]> block_;
    uint8_t* data_ = nullptr;
    size_t size_ = 0;
    HeldBytes held_;
};

}  // namespace ovms::net
