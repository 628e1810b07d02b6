// UTF-8 validation (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace ovms {

inline bool is_utf8(std::string_view text) {
    const auto* p = reinterpret_cast<const uint8_t*>(text.data());
    const uint8_t* const end = p + text.size();
    while (p != end) {
        if (end - p >= 8) {  // names are nearly always ASCII: eight bytes at a time
            uint64_t word;
            std::memcpy(&word, p, 8);
            if ((word & 0x8080808080808080u) == 0) {
                p += 8;
                continue;
            }
        }
        const uint8_t lead = *p++;
        if (lead < 0x80) continue;
        int more = 0;
        uint8_t low = 0x80, high = 0xbf;  // bounds of the second byte
        if (lead >= 0xc2 && lead <= 0xdf) {
            more = 1;
        } else if (lead >= 0xe0 && lead <= 0xef) {
            more = 2;
            if (lead == 0xe0) low = 0xa0;
            if (lead == 0xed) high = 0x9f;
        } else if (lead >= 0xf0 && lead <= 0xf4) {
            more = 3;
            if (lead == 0xf0) low = 0x90;
            if (lead == 0xf4) high = 0x8f;
        } else {
            return false;
        }
        if (end - p < more) return false;
        if (*p < low || *p > high) return false;
        for (int i = 1; i < more; ++i)
            if ((p[i] & 0xc0) != 0x80) return false;
        p += more;
    }
    return true;
}

// text cut to at most limit bytes, at a character's boundary: for names that are echoed in messages.
inline std::string_view cut_utf8(std::string_view text, size_t limit) {
    if (text.size() <= limit) return text;
    while (limit > 0 && (static_cast<uint8_t>(text[limit]) & 0xc0) == 0x80) --limit;
    return text.substr(0, limit);
}

// The name in quotes, for a message: cut, and without control characters.
inline constexpr size_t kLongestName = 200;  // bytes
inline std::string quote_name(std::string_view name) {
    const std::string_view cut = cut_utf8(name, kLongestName);
    std::string text = "'";
    for (const char c : cut) {
        if (c == '\'' || c == '\\') text += '\\';
        // A control character could break the line that a log or a terminal shows.
        if (static_cast<uint8_t>(c) < 0x20 || c == 0x7f) text += '?';
        else text += c;
    }
    if (cut.size() != name.size()) text += "...";
    return text + "'";
}

}  // namespace ovms
