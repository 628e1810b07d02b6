// Base64 (RFC 4648, section 4): the standard alphabet.
#pragma once

#include <string>
#include <string_view>

namespace ovms {

// Appends the bytes that text stands for. The padding may be left out; anything else of the alphabet's outside is
// refused, bits that would be lost too.
bool decode_base64(std::string_view text, std::string& out);

inline size_t base64_size(size_t bytes) { return (bytes + 2) / 3 * 4; }

// Writes base64_size(bytes.size()) characters; returns their end.
char* encode_base64(std::string_view bytes, char* out);

}  // namespace ovms
