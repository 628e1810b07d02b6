// JSON numbers (RFC 8259, section 6) -> binary numbers, exactly rounded.
//
// Every function here reads up to the first byte that cannot belong to a number; the text has to end with a zero byte.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "powers_of_five.hpp"

namespace ovms {

// A number as it is spelled: (-1)^negative * mantissa * 10^exponent, if `whole`; else it has more digits than fit.
struct JsonNumber {
    const uint8_t* begin = nullptr;
    const uint8_t* end = nullptr;
    uint64_t mantissa = 0;
    int exponent = 0;  // at most about +-1,000,000, whatever is spelled
    bool negative = false;
    bool whole = true;
};

inline bool is_digit(uint8_t byte) { return static_cast<uint8_t>(byte - '0') <= 9; }

namespace json_number {

// Whether eight bytes are all digits, and their value: the usual arithmetic on eight bytes in one register.
inline bool eight_digits(uint64_t bytes) {
    return (((bytes + 0x4646464646464646u) | (bytes - 0x3030303030303030u)) & 0x8080808080808080u) == 0;
}
inline uint64_t value_of_eight(uint64_t bytes) {
    bytes -= 0x3030303030303030u;
    bytes = bytes * 10 + (bytes >> 8);  // pairs
    return (((bytes & 0x000000ff000000ffu) * 0x000f424000000064u) + (((bytes >> 16) & 0x000000ff000000ffu) * 0x0000271000000001u)) >> 32;
}

// Digits from p on; mantissa may overflow, its user counts the digits. A zero byte before eight more bytes stops the
// eight at once, so what lies behind the end of the text is never looked at.
inline const uint8_t* digits(const uint8_t* p, const uint8_t* end, uint64_t& mantissa) {
    while (end - p >= 8) {
        uint64_t bytes;
        std::memcpy(&bytes, p, 8);
        if (!eight_digits(bytes)) break;
        mantissa = mantissa * 100000000 + value_of_eight(bytes);
        p += 8;
    }
    while (is_digit(*p)) mantissa = mantissa * 10 + (*p++ - '0');
    return p;
}

bool exponent(const uint8_t*& p, JsonNumber& number);  // from the 'e' on
void recount(JsonNumber& number);                      // of a number with many digits: zeros in front are none
double slow_double(const JsonNumber& number);
float slow_float(const JsonNumber& number);

inline constexpr double kExactPowers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                          1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

// mantissa * 10^exponent by one multiplication with a 128-bit power (D. Lemire, "Number parsing at a gigabyte per
// second", 2021, section 5). False in the few cases that the bits left out could decide.
inline bool quick_double(uint64_t mantissa, int power, double& value) {
    const PowerOfFive& five = power_of_five(power);
    const int zeros = std::countl_zero(mantissa);
    mantissa <<= zeros;
    const Uint128 low = Uint128{mantissa} * five.low;
    Uint128 product = Uint128{mantissa} * five.high + (low >> 64);  // the product without its last 64 bits
    const int up = static_cast<int>(~static_cast<uint64_t>(product >> 64) >> 63);
    product <<= up;
    // The true product lies in [product, product + 4): both the power and the sum were rounded down.
    constexpr Uint128 half = Uint128{1} << 74;  // 128 - 53 = 75 bits go
    const Uint128 rest = product & (2 * half - 1);
    if (rest <= half && rest > half - 4) return false;
    uint64_t bits = static_cast<uint64_t>(product >> 75) + (rest > half ? 1 : 0);  // a carry moves to the exponent
    const int exponent = 64 - zeros + five.exponent + power - up + 75 + 52 + 1023;
    bits += (static_cast<uint64_t>(exponent) - 1) << 52;  // the leading bit of the mantissa is the other one
    value = std::bit_cast<double>(bits);
    return true;
}

}  // namespace json_number

// Reads a number at p and moves p behind it; false if there is none by the grammar. p must not be at the text's end.
inline bool scan_number(const uint8_t*& p, const uint8_t* end, JsonNumber& number) {
    number.begin = p;
    number.negative = *p == '-';
    const uint8_t* q = p + number.negative;
    const uint8_t* const first = q;
    uint64_t mantissa = 0;
    if (*q == '0') {
        ++q;
        if (is_digit(*q)) return false;  // 01
    } else {
        while (is_digit(*q)) mantissa = mantissa * 10 + (*q++ - '0');  // mostly few: not eight at a time
        if (q == first) return false;
    }
    number.exponent = 0;
    ptrdiff_t count = q - first;
    if (*q == '.') {
        const uint8_t* const fraction = ++q;
        q = json_number::digits(q, end, mantissa);
        if (q == fraction) return false;
        number.exponent = static_cast<int>(fraction - q);
        count += q - fraction;
    }
    number.mantissa = mantissa;
    number.whole = count <= 19;
    if ((*q | 0x20) == 'e' && !json_number::exponent(q, number)) return false;
    number.end = q;
    p = q;
    if (!number.whole) json_number::recount(number);
    return true;
}

// The nearest float64, ties to even; infinite beyond its range.
inline double to_double(const JsonNumber& number) {
    const uint64_t mantissa = number.mantissa;
    if (number.whole) {
        double value;
        if (mantissa <= (uint64_t{1} << 53) && number.exponent >= -22 && number.exponent <= 22) {
            // Both exact, so one rounding (W. Clinger, "How to read floating point numbers accurately", 1990)
            value = static_cast<double>(mantissa);
            value = number.exponent < 0 ? value / json_number::kExactPowers[-number.exponent]
                                        : value * json_number::kExactPowers[number.exponent];
            return number.negative ? -value : value;
        }
        if (mantissa != 0 && number.exponent >= -kLargestPower && number.exponent <= kLargestPower &&
            json_number::quick_double(mantissa, number.exponent, value))
            return number.negative ? -value : value;
    }
    return json_number::slow_double(number);
}

// The nearest float32, ties to even; infinite beyond its range.
inline float to_float(const JsonNumber& number) {
    const double value = to_double(number);
    const auto bits = std::bit_cast<uint64_t>(value);
    // Rounding twice errs only where the first rounding ends midway between two float32. Denormal ones have their
    // midways elsewhere. 0x381 is the biased exponent of 2^-126.
    const bool midway = (bits & 0x1fffffff) == 0x10000000;
    const bool small = (bits & 0x7fffffffffffffff) < (uint64_t{0x381} << 52) && (bits << 1) != 0;
    if (midway || small) [[unlikely]]
        return json_number::slow_float(number);
    return static_cast<float>(value);
}

// The integer that is spelled, in any way (7, 7.0, 70e-1): false if it is none, or none from -2^63 to 2^64 - 1.
// magnitude has its size, number.negative its sign.
bool to_integer(const JsonNumber& number, uint64_t& magnitude);

}  // namespace ovms
