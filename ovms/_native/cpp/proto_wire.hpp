// Protocol buffers' wire format, below any message: wire types, and skipping what is not known.
// https://protobuf.dev/programming-guides/encoding/
#pragma once

#include "byte_reader.hpp"

namespace ovms {

enum WireType : uint32_t {
    kVarint = 0,
    kFixed64 = 1,
    kLengthDelimited = 2,
    kStartGroup = 3,
    kEndGroup = 4,
    kFixed32 = 5,
};

// How deep messages and groups may nest, as in google.protobuf.
inline constexpr int kMaxNesting = 100;

// Skips the value behind a tag just read. depth: how many messages and groups are open around it.
bool skip_field(ByteReader& reader, uint32_t field, uint32_t wire_type, int depth);

// Skips a stretch of varint fields that all have the one-byte tag: what it can of it, fast.
void skip_tagged_varints(ByteReader& reader, uint8_t tag);

// Whether a packed run holds whole varints of at most ten bytes; what fails is recorded in run.
bool check_packed_varints(ByteReader run);

}  // namespace ovms
