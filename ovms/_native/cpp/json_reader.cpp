#include "json_reader.hpp"

#include <bitset>
#include <cstring>

#include "json_number.hpp"
#include "utf8.hpp"

namespace ovms {
namespace {

void append_utf8(std::string& text, uint32_t code) {
    const auto push = [&](uint32_t byte) { text.push_back(static_cast<char>(byte)); };
    if (code < 0x80) {
        push(code);
    } else if (code < 0x800) {
        push(0xc0 | code >> 6);
        push(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        push(0xe0 | code >> 12);
        push(0x80 | (code >> 6 & 0x3f));
        push(0x80 | (code & 0x3f));
    } else {
        push(0xf0 | code >> 18);
        push(0x80 | (code >> 12 & 0x3f));
        push(0x80 | (code >> 6 & 0x3f));
        push(0x80 | (code & 0x3f));
    }
}

std::string_view view(const uint8_t* from, const uint8_t* to) {
    return {reinterpret_cast<const char*>(from), static_cast<size_t>(to - from)};
}

}  // namespace

bool JsonReader::need(char byte) {
    if (take(byte)) return true;
    const char quoted[] = {'\'', byte, '\'', 0};
    return fail(quoted);
}

bool JsonReader::need_end() {
    peek();
    return p == end_ || fail(kEnd);
}

bool JsonReader::fail(std::string_view expected) {
    if (!error_.empty()) return false;
    error_ = "offset " + std::to_string(p - begin_) + ": expected " + std::string(expected) + ", got ";
    if (p == end_) {
        error_ += kEnd;
    } else if (*p > ' ' && *p < 0x7f) {
        error_ += std::string("'") + static_cast<char>(*p) + "'";
    } else {
        constexpr char digits[] = "0123456789abcdef";
        error_ += std::string("byte 0x") + digits[*p >> 4] + digits[*p & 15];
    }
    return false;
}

bool JsonReader::string(std::string_view& out) {
    if (!need('"')) return false;
    const uint8_t* const from = p;
    uint8_t seen = 0;
    while (*p != '"' && *p != '\\' && *p >= ' ') seen |= *p++;
    if (*p == '\\') return escaped_string(from, out);
    if (*p != '"') return fail(p == end_ ? "'\"'" : "no control character in a string");
    out = view(from, p);
    if ((seen & 0x80) != 0 && !is_utf8(out)) return fail("UTF-8 in the string that ends here");
    ++p;
    return true;
}

bool JsonReader::escaped_string(const uint8_t* from, std::string_view& out) {
    unescaped_.clear();
    for (p = from;;) {
        const uint8_t* const run = p;
        while (*p != '"' && *p != '\\' && *p >= ' ') ++p;
        const std::string_view plain = view(run, p);
        if (!is_utf8(plain)) return fail("UTF-8 in the string part that ends here");
        unescaped_.append(plain);
        if (*p == '"') break;
        if (*p != '\\') return fail(p == end_ ? "'\"'" : "no control character in a string");
        ++p;
        if (!escape()) return false;
    }
    ++p;
    out = unescaped_;
    return true;
}

bool JsonReader::escape() {
    constexpr std::string_view letters = "\"\\/bfnrt";
    constexpr std::string_view meant = "\"\\/\b\f\n\r\t";
    if (*p != 'u') {
        const size_t which = *p == 0 ? std::string_view::npos : letters.find(static_cast<char>(*p));
        if (which == std::string_view::npos) return fail("an escape sequence");
        unescaped_.push_back(meant[which]);
        ++p;
        return true;
    }
    ++p;
    uint32_t unit = 0;
    if (!hex4(unit)) return false;
    if (unit >= 0xd800 && unit < 0xe000) {
        uint32_t low = 0;
        if (unit >= 0xdc00) return fail("a high surrogate before this low one");
        if (p[0] != '\\' || p[1] != 'u') return fail("a low surrogate");
        p += 2;
        if (!hex4(low)) return false;
        if (low < 0xdc00 || low > 0xdfff) return fail("a low surrogate before this");
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(unescaped_, unit);
    return true;
}

bool JsonReader::hex4(uint32_t& unit) {
    unit = 0;
    for (int i = 0; i < 4; ++i, ++p) {
        const uint8_t lower = *p | 0x20;
        if (is_digit(*p)) unit = unit << 4 | static_cast<uint32_t>(*p - '0');
        else if (lower >= 'a' && lower <= 'f') unit = unit << 4 | static_cast<uint32_t>(lower - 'a' + 10);
        else return fail("a hexadecimal digit");
    }
    return true;
}

bool JsonReader::word(std::string_view word) {
    for (const char letter : word) {
        if (*p != static_cast<uint8_t>(letter)) return fail(word);
        ++p;
    }
    return true;
}

bool JsonReader::skip_scalar() {
    switch (peek()) {
        case '"': {
            std::string_view ignored;
            return string(ignored);
        }
        case 't': return word("true");
        case 'f': return word("false");
        case 'n': return word("null");
        default: {
            JsonNumber ignored;
            const uint8_t* const after = scan_number(p, end_, ignored);
            if (after == nullptr) return fail("a value");
            p = after;
            return true;
        }
    }
}

bool JsonReader::skip_value() {
    std::bitset<kDeepestSkipped> is_object;
    std::string_view key;
    size_t depth = 0;
    for (;;) {
        const bool opens_object = peek() == '{';
        if (opens_object || *p == '[') {
            if (depth == kDeepestSkipped) return fail("values nested no deeper than 1000");
            ++p;
            if (!take(opens_object ? '}' : ']')) {
                is_object[depth++] = opens_object;
                if (opens_object && !(string(key) && need(':'))) return false;
                continue;
            }
        } else if (!skip_scalar()) {
            return false;
        }
        // A value ended: the next one, or the end of what it stands in.
        for (;;) {
            if (depth == 0) return true;
            if (take(',')) {
                if (is_object[depth - 1] && !(string(key) && need(':'))) return false;
                break;
            }
            if (!take(is_object[depth - 1] ? '}' : ']')) return fail(is_object[depth - 1] ? "',' or '}'" : "',' or ']'");
            --depth;
        }
    }
}

std::string_view JsonReader::kind() {
    const auto is = [&](std::string_view word) {
        return remaining() >= word.size() && std::memcmp(p, word.data(), word.size()) == 0;
    };
    const uint8_t first = peek();
    if (first == '"') return "string";
    if (first == '{') return "object";
    if (first == '[') return "array";
    if (is("true") || is("false")) return "boolean";
    if (is("null")) return "null";
    if (first == '-' || is_digit(first) || is("NaN") || is("Inf")) return "number";
    return p == end_ ? kEnd : kNothing;
}

}  // namespace ovms
