#include "base64.hpp"

#include <array>
#include <cstdint>

namespace ovms {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint8_t kNone = 0xff;

constexpr auto kValues = [] {
    std::array<uint8_t, 256> values{};
    values.fill(kNone);
    for (size_t i = 0; i < kAlphabet.size(); ++i) values[static_cast<uint8_t>(kAlphabet[i])] = static_cast<uint8_t>(i);
    return values;
}();

}  // namespace

bool decode_base64(std::string_view text, std::string& out) {
    if (text.size() % 4 == 0 && text.ends_with('=')) text.remove_suffix(text.ends_with("==") ? 2 : 1);
    if (text.size() % 4 == 1) return false;
    out.reserve(out.size() + text.size() / 4 * 3 + 2);
    uint32_t bits = 0;
    int held = 0;
    uint8_t wrong = 0;
    for (const char letter : text) {
        const uint8_t value = kValues[static_cast<uint8_t>(letter)];
        wrong |= value;  // only kNone has the highest bit
        bits = bits << 6 | (value & 0x3f);
        held += 6;
        if (held >= 8) {
            held -= 8;
            out.push_back(static_cast<char>(bits >> held));
        }
    }
    return (wrong & 0x80) == 0 && (bits & ((1u << held) - 1)) == 0;
}

char* encode_base64(std::string_view bytes, char* out) {
    const auto* p = reinterpret_cast<const uint8_t*>(bytes.data());
    size_t left = bytes.size();
    for (; left >= 3; left -= 3, p += 3) {
        const uint32_t bits = static_cast<uint32_t>(p[0]) << 16 | static_cast<uint32_t>(p[1]) << 8 | p[2];
        for (int shift = 18; shift >= 0; shift -= 6) *out++ = kAlphabet[bits >> shift & 63];
    }
    if (left != 0) {
        const uint32_t bits = static_cast<uint32_t>(p[0]) << 16 | (left == 2 ? static_cast<uint32_t>(p[1]) << 8 : 0);
        *out++ = kAlphabet[bits >> 18 & 63];
        *out++ = kAlphabet[bits >> 12 & 63];
        *out++ = left == 2 ? kAlphabet[bits >> 6 & 63] : '=';
        *out++ = '=';
    }
    return out;
}

}  // namespace ovms
