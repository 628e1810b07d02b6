// Writes protocol buffers' wire format into memory of a known size, and tells sizes beforehand.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace ovms {

inline constexpr size_t varint_size(uint64_t value) {
    return (static_cast<size_t>(std::bit_width(value | 1)) + 6) / 7;
}

// A length-delimited field with a one-byte tag
inline constexpr size_t field_size(size_t length) { return 1 + varint_size(length) + length; }

class ProtoWriter {
public:
    explicit ProtoWriter(uint8_t* out) : out_(out) {}

    uint8_t* position() const { return out_; }

    void varint(uint64_t value) {
        while (value >= 0x80) {
            *out_++ = static_cast<uint8_t>(value | 0x80);
            value >>= 7;
        }
        *out_++ = static_cast<uint8_t>(value);
    }
    void tag(uint32_t field, uint32_t wire_type) { varint(field << 3 | wire_type); }
    void length(uint32_t field, uint64_t size) {
        tag(field, 2);
        varint(size);
    }
    void raw(const void* data, size_t size) {
        if (size != 0) std::memcpy(out_, data, size);
        out_ += size;
    }
    // Leaves size bytes as they are; their place.
    uint8_t* skip(size_t size) {
        uint8_t* const place = out_;
        out_ += size;
        return place;
    }
    void bytes(uint32_t field, std::string_view value) {
        length(field, value.size());
        raw(value.data(), value.size());
    }

private:
    uint8_t* out_;
};

}  // namespace ovms
