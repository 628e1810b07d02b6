#include "json_number.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

namespace ovms {
namespace json_number {
namespace {

constexpr int64_t kLargestExponent = int64_t{1} << 40;

const char* chars(const uint8_t* p) { return reinterpret_cast<const char*>(p); }

// The power of ten of the first digit that is not 0; the smallest int if there is none.
int64_t magnitude_of(const JsonNumber& number) {
    int64_t place = -1;  // of the digit last looked at, as if the number were 0.ddd
    bool point = false;
    int64_t before_point = 0, first = -1;
    for (const uint8_t* p = number.begin + number.negative; p != number.end && (is_digit(*p) || *p == '.'); ++p) {
        if (*p == '.') {
            point = true;
            continue;
        }
        ++place;
        if (!point) ++before_point;
        if (first < 0 && *p != '0') first = place;
    }
    if (first < 0) return std::numeric_limits<int64_t>::min();
    const uint8_t* const e = std::find_if(number.begin, number.end, [](uint8_t byte) { return (byte | 0x20) == 'e'; });
    JsonNumber spelled;
    if (const uint8_t* p = e; p != number.end) exponent(p, spelled);
    return before_point - 1 - first + spelled.exponent;
}

template <class T>
T slow(const JsonNumber& number) {
    T value{};
    const auto [end, error] = std::from_chars(chars(number.begin), chars(number.end), value);
    if (error == std::errc::result_out_of_range) {
        value = magnitude_of(number) > 0 ? std::numeric_limits<T>::infinity() : T{0};
        if (number.negative) value = -value;
    }
    return value;
}

}  // namespace

bool exponent(const uint8_t*& p, JsonNumber& number) {
    ++p;
    const bool negative = *p == '-';
    if (*p == '-' || *p == '+') ++p;
    if (!is_digit(*p)) return false;
    int64_t value = 0;
    for (; is_digit(*p); ++p) value = std::min(value * 10 + (*p - '0'), kLargestExponent);
    number.exponent += negative ? -value : value;
    return true;
}

void recount(JsonNumber& number) {
    ptrdiff_t count = 0;
    for (const uint8_t* p = number.begin + number.negative; p != number.end && (is_digit(*p) || *p == '.'); ++p)
        if (*p != '.' && (count > 0 || *p != '0')) ++count;
    number.whole = count <= 19;
}

double slow_double(const JsonNumber& number) { return slow<double>(number); }
float slow_float(const JsonNumber& number) { return slow<float>(number); }

}  // namespace json_number

bool to_integer(const JsonNumber& number, uint64_t& magnitude) {
    if (number.whole && number.exponent == 0) {
        magnitude = number.mantissa;
    } else {
        // All digits, without the zeros at the end: those of 20 digits that fit, and what only looks like a fraction.
        Uint128 value = 0;
        int64_t zeros = 0, exponent = number.exponent;
        for (const uint8_t* p = number.begin + number.negative; p != number.end && (is_digit(*p) || *p == '.'); ++p) {
            if (*p == '.') continue;
            if (*p == '0') {
                zeros += value != 0;
                continue;
            }
            for (; zeros >= 0 && value <= UINT64_MAX; --zeros) value *= 10;
            if (zeros >= 0) return false;  // beyond 64 bits, whatever the exponent: the digit read now is not 0
            zeros = 0;
            value += static_cast<uint8_t>(*p - '0');
            if (value > UINT64_MAX) return false;
        }
        if (value == 0) {
            magnitude = 0;
            return true;
        }
        exponent += zeros;
        if (exponent < 0) return false;
        for (; exponent > 0 && value <= UINT64_MAX; --exponent) value *= 10;
        if (value > UINT64_MAX) return false;
        magnitude = static_cast<uint64_t>(value);
    }
    return !number.negative || magnitude <= uint64_t{1} << 63;
}

}  // namespace ovms
