#include "proto_wire.hpp"

#include "varint_block.hpp"

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

void skip_tagged_varints(ByteReader& reader, uint8_t tag) {
    std::string_view bytes;
    while (reader.remaining() >= kBlock) {
        const VarintBlock block = find_varints<true>(reader.position(), tag);
        if (block.ends == 0 || !reader.bytes(block.bytes(), bytes)) return;
    }
}

bool check_packed_varints(ByteReader run) {
    std::string_view bytes;
    while (run.remaining() >= kBlock) {
        const VarintBlock block = find_varints<false>(run.position(), 0);
        if (block.ends == 0 || !run.bytes(block.bytes(), bytes)) break;
    }
    uint64_t value;
    while (!run.at_end())
        if (!run.varint(value)) return false;
    return true;
}

}  // namespace ovms
