// The bounded cursor: the only way bytes from outside are read.
//
// A length is compared with what remains, never added to a pointer first. Every read that fails says
// where (offset from the start of the message) and why, and leaves the cursor unusable for more.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace ovms {

// Why a message could not be read, and at which byte of it. reason == nullptr: no error.
struct WireError {
    const char* reason = nullptr;
    size_t offset = 0;

    std::string text() const { return "offset " + std::to_string(offset) + ": " + reason; }
};

class ByteReader {
public:
    // Reads [data, data + size). Offsets in errors count from origin, the first byte of the message.
    ByteReader(const uint8_t* data, size_t size, const uint8_t* origin, WireError* error)
        : position_(data), end_(data + size), origin_(origin), error_(error) {}

    bool at_end() const { return position_ == end_; }
    size_t remaining() const { return static_cast<size_t>(end_ - position_); }
    const uint8_t* position() const { return position_; }
    size_t offset() const { return static_cast<size_t>(position_ - origin_); }

    // Records the first failure only: what follows from it would mislead.
    bool fail(const char* reason) {
        if (error_->reason == nullptr) *error_ = {reason, offset()};
        position_ = end_;
        return false;
    }

    // A base-128 varint of at most ten bytes; bits above 64 are dropped, as protobuf does.
    bool varint(uint64_t& value) {
        if (position_ != end_ && *position_ < 0x80) {
            value = *position_++;
            return true;
        }
        return long_varint(value, 10, "varint is longer than ten bytes");
    }

    // A field's tag: at most five bytes and 32 bits, field number 1 or more.
    bool tag(uint32_t& field, uint32_t& wire_type) {
        uint64_t value = 0;
        if (position_ != end_ && *position_ < 0x80) {
            value = *position_++;
        } else if (!long_varint(value, 5, "tag is longer than five bytes")) {
            return false;
        }
        if (value > UINT32_MAX) return fail("tag has more than 32 bits");
        field = static_cast<uint32_t>(value >> 3);
        wire_type = static_cast<uint32_t>(value & 7);
        if (field == 0) return fail("field number 0");
        return true;
    }

    // size bytes, as a view into the message.
    bool bytes(uint64_t size, std::string_view& out) {
        if (size > remaining()) return fail("length exceeds the bytes that remain");
        out = {reinterpret_cast<const char*>(position_), static_cast<size_t>(size)};
        position_ += size;
        return true;
    }

    // A length-prefixed run of bytes. Protobuf allows lengths up to 2^31 - 1, in at most five bytes.
    bool length_delimited(std::string_view& out) {
        uint64_t size = 0;
        if (position_ != end_ && *position_ < 0x80) {
            size = *position_++;
        } else if (!long_varint(size, 5, "length is longer than five bytes")) {
            return false;
        }
        if (size > INT32_MAX) return fail("length is over 2^31 - 1");
        return bytes(size, out);
    }

    template <class T>  // a little-endian fixed-width value
    bool fixed(T& value) {
        std::string_view raw;
        if (!bytes(sizeof(T), raw)) return false;
        std::memcpy(&value, raw.data(), sizeof(T));
        return true;
    }

    // A stretch of unpacked fixed-width elements, all with the one-byte tag just read: value, tag, value, ...
    // run spans from the first value to the last, at most limit of them; values are width + 1 bytes apart.
    bool unpacked_run(uint32_t field, uint32_t wire_type, size_t width, size_t limit, std::string_view& run,
                      size_t& elements) {
        if (remaining() < width) return fail("length exceeds the bytes that remain");
        const auto tag = static_cast<uint8_t>(field << 3 | wire_type);
        const size_t whole = (remaining() - width) / (width + 1) + 1;
        const size_t most = whole < limit ? whole : limit;
        elements = 1;
        if (field < 16) {
            while (most - elements >= 16 && (width == 4 ? sixteen_tags<4>(elements, tag) : sixteen_tags<8>(elements, tag)))
                elements += 16;
            while (elements < most && position_[elements * (width + 1) - 1] == tag) ++elements;
        }
        return bytes(elements * (width + 1) - 1, run);
    }

    // A reader of a slice of the same message: a sub-message gets its own bounds.
    ByteReader sub(std::string_view slice) const {
        return {reinterpret_cast<const uint8_t*>(slice.data()), slice.size(), origin_, error_};
    }

private:
    // Whether the sixteen elements after the first so many all have the tag. Every byte is looked at and all but the
    // tags are masked out: so the compiler compares sixteen bytes at once.
    template <size_t kWidth>
    bool sixteen_tags(size_t elements, uint8_t tag) const {
        constexpr auto mask = [] {
            std::array<uint8_t, 16 * (kWidth + 1)> bytes{};
            for (size_t i = 0; i < bytes.size(); i += kWidth + 1) bytes[i] = 0xff;
            return bytes;
        }();
        const uint8_t* const first = position_ + elements * (kWidth + 1) - 1;
        uint8_t other = 0;
        for (size_t i = 0; i < mask.size(); ++i) other |= (first[i] ^ tag) & mask[i];
        return other == 0;
    }

    bool long_varint(uint64_t& value, int longest, const char* too_long) {
        uint64_t result = 0;
        const uint8_t* p = position_;
        for (int i = 0; i < longest; ++i) {
            if (p == end_) return fail("cut inside a varint");
            const uint64_t byte = *p++;
            if (i < 9) {
                result |= (byte & 0x7f) << (7 * i);
            } else {
                result |= byte << 63;
            }
            if (byte < 0x80) {
                position_ = p;
                value = result;
                return true;
            }
        }
        return fail(too_long);
    }

    const uint8_t* position_;
    const uint8_t* end_;
    const uint8_t* origin_;
    WireError* error_;
};

}  // namespace ovms
