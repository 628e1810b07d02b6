// The bytes of one answer, with room for a frame's head in front of them.
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

    uint8_t* data() const { return block_.get() + kHead; }
    size_t size() const { return size_; }
    std::string_view text() const { return {reinterpret_cast<const char*>(data()), size_}; }

    // nullptr: there is no memory, or the process holds too much already.
    uint8_t* allocate(size_t size) {
        clear();
        if (!held_.grow(size)) return nullptr;
        block_.reset(new (std::nothrow) uint8_t[kHead + size]);
        size_ = block_ == nullptr ? 0 : size;
        return block_ == nullptr ? nullptr : data();
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
                [](void* self, size_t size) { static_cast<Answer*>(self)->shrink(size); }, this};
    }

private:
    std::unique_ptr<uint8_t[]> block_;
    size_t size_ = 0;
    HeldBytes held_;
};

}  // namespace ovms::net
