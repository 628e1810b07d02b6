// The bounded cursor for JSON texts (RFC 8259): the only way they are read.
//
// A text ends with a zero byte behind its last one. No rule of the grammar takes a zero byte, so every loop ends there
// without comparing positions, and eight bytes are read at once only where eight remain.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ovms {

// Values nested deeper than this are refused where they are only skipped.
inline constexpr size_t kDeepestSkipped = 1000;

class JsonReader {
public:
    static constexpr std::string_view kNothing = "no value", kEnd = "the end of the text";

    // text[size] must be readable, and zero.
    JsonReader(const uint8_t* text, size_t size) : p(text), begin_(text), end_(text + size) {
        if (size >= 3 && text[0] == 0xef && text[1] == 0xbb && text[2] == 0xbf) p += 3;  // a byte order mark
    }

    const uint8_t* p;  // the next byte

    const uint8_t* end() const { return end_; }
    size_t remaining() const { return static_cast<size_t>(end_ - p); }

    // The next byte that is no white space; zero at the end (and where a zero byte stands in the text).
    uint8_t peek() {
        p = after_space(p);
        return *p;
    }
    static const uint8_t* after_space(const uint8_t* p) {
        while (*p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) ++p;
        return p;
    }
    bool take(char byte) {
        if (peek() != static_cast<uint8_t>(byte)) return false;
        ++p;
        return true;
    }
    // take, or an error that says what was expected
    bool need(char byte);
    bool need_end();

    // A string without its quotes, unescaped. The view holds until the next string is read.
    bool string(std::string_view& out);

    // true, false, null: the rest of the word whose first letter stands at p
    bool word(std::string_view word);

    // Any value, checked and thrown away.
    bool skip_value();

    // What stands at p, in words: "number", "string", "end of the text" ...
    std::string_view kind();
    // Whether a value begins at p, as far as its first letters tell
    bool at_value() { return kind() != kNothing && kind() != kEnd; }

    // Records that the text breaks the grammar at p.
    bool fail(std::string_view expected);

    // "offset 12: expected ',' or ']', got 'x'"; empty if nothing was wrong
    const std::string& error() const { return error_; }

private:
    bool escaped_string(const uint8_t* from, std::string_view& out);
    bool escape();
    bool hex4(uint32_t& unit);
    bool skip_scalar();

    const uint8_t* begin_;
    const uint8_t* end_;
    std::string unescaped_;
    std::string error_;
};

}  // namespace ovms
