#include "proto_wire.hpp"

namespace ovms {
namespace {

// Skips to the end of the group that field opened. A loop with a stack of its own: a peer chooses the depth.
bool skip_group(ByteReader& reader, uint32_t field, int depth) {
    uint32_t open[kMaxNesting];
    int groups = 0;
    if (depth + 1 > kMaxNesting) return reader.fail("nested deeper than 100");
    open[groups++] = field;
    while (groups > 0) {
        if (reader.at_end()) return reader.fail("group is not closed");
        uint32_t number, wire_type;
        if (!reader.tag(number, wire_type)) return false;
        if (wire_type == kEndGroup) {
            if (open[--groups] != number) return reader.fail("group is closed by another field's end");
        } else if (wire_type == kStartGroup) {
            if (depth + groups + 1 > kMaxNesting) return reader.fail("nested deeper than 100");
            open[groups++] = number;
        } else if (!skip_field(reader, number, wire_type, depth)) {
            return false;
        }
    }
    return true;
}

}  // namespace

bool skip_field(ByteReader& reader, uint32_t field, uint32_t wire_type, int depth) {
    uint64_t value;
    std::string_view bytes;
    switch (wire_type) {
        case kVarint: return reader.varint(value);
        case kFixed64: return reader.bytes(8, bytes);
        case kLengthDelimited: return reader.length_delimited(bytes);
        case kStartGroup: return skip_group(reader, field, depth);
        case kFixed32: return reader.bytes(4, bytes);
        case kEndGroup: return reader.fail("end of a group that was not opened");
        default: return reader.fail("wire type 6 or 7");
    }
}

bool check_packed_varints(ByteReader run) {
    size_t unfinished = 0;  // bytes of the varint that is open
    while (run.remaining() >= 8) {
        uint64_t word;
        std::memcpy(&word, run.position(), 8);
        const uint64_t more = word & 0x8080808080808080u;
        std::string_view bytes;
        if (more == 0 && unfinished < 10) {  // eight ends: whatever was open is closed by the first
            unfinished = 0;
        } else {
            for (int i = 0; i < 8; ++i) {
                if (++unfinished > 10) return run.fail("varint is longer than ten bytes");
                if (((more >> (8 * i)) & 0x80) == 0) unfinished = 0;
            }
        }
        if (!run.bytes(8, bytes)) return false;
    }
    while (!run.at_end()) {
        std::string_view byte;
        if (++unfinished > 10) return run.fail("varint is longer than ten bytes");
        if (!run.bytes(1, byte)) return false;
        if (static_cast<uint8_t>(byte[0]) < 0x80) unfinished = 0;
    }
    return unfinished == 0 || run.fail("cut inside a varint");
}

}  // namespace ovms
