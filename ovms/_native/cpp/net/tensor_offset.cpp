#include "tensor_offset.hpp"

#include <array>

#include "../proto_wire.hpp"

namespace ovms::net {
namespace {

// PredictRequest.inputs, its entries' value, TensorProto.tensor_content
constexpr std::array<uint32_t, 3> kPath{2, 2, 4};
constexpr size_t kContent = kPath.size() - 1;

}  // namespace

size_t large_content_offset(const uint8_t* data, size_t size, size_t least) {
    WireError error;
    ByteReader reader(data, size, data, &error);
    std::array<uint64_t, kPath.size()> end{UINT64_MAX, 0, 0};
    size_t level = 0;
    while (!reader.at_end()) {
        while (level > 0 && reader.offset() >= end[level]) --level;
        uint32_t field = 0;
        uint32_t wire_type = 0;
        if (!reader.tag(field, wire_type)) return 0;
        if (wire_type != kLengthDelimited) {
            if (!skip_field(reader, field, wire_type, 1)) return 0;
            continue;
        }
        uint64_t length = 0;
        if (!reader.varint(length)) return 0;
        if (field == kPath[level]) {
            if (level == kContent && length >= least) return reader.offset();
            if (level < kContent) {
                end[++level] = reader.offset() + length;
                continue;
            }
        }
        std::string_view skipped;
        if (!reader.bytes(length, skipped)) return 0;
    }
    return 0;
}

}  // namespace ovms::net
