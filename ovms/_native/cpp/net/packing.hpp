// gzip and deflate, of bodies and answers, by zlib.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "answer.hpp"
#include "body.hpp"

namespace ovms::net {

enum class Packing { kNone, kGzip, kDeflate };

enum class Unpacked { kOk, kTooLarge, kMalformed, kOutOfMemory };

// Unpacks gzip (of one member or several) or deflate (zlib's format; raw as well, which some clients send) into out, of at
// most limit bytes: no more than that is ever made. why: what is wrong with a malformed one.
Unpacked unpack(Packing packing, const uint8_t* data, size_t size, size_t limit, Body& out, std::string& why);

// Packs an answer as gzip or deflate (zlib's format), as fast as can be. False: it did not work, packed is not to be used.
bool pack(Packing packing, std::string_view content, Answer& packed);
inline bool pack_gzip(std::string_view content, Answer& packed) { return pack(Packing::kGzip, content, packed); }

}  // namespace ovms::net
