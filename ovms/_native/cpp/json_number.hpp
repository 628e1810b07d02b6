// JSON numbers (RFC 8259, section 6) -> binary numbers, exactly rounded.
//
// Every function here reads up to the first byte that cannot belong to a number; the text has to end with a zero byte.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "json_digits.hpp"
#include "powers_of_five.hpp"

namespace ovms {

// A number as it is spelled: (-1)^negative * mantissa * 10^exponent, if `whole`; else it has more digits than fit.
struct JsonNumber {
    const uint8_t* begin = nullptr;
    const uint8_t* end = nullptr;
    uint64_t mantissa = 0;
    int64_t exponent = 0;  // cut at +-2^40, which no text is long enough to take back
    bool negative = false;
    bool whole = true;
};

namespace json_number {

bool exponent(const uint8_t*& p, JsonNumber& number);  // from the 'e' on
void recount(JsonNumber& number);                      // of a number with many digits: zeros in front are none
double slow_double(const JsonNumber& number);
float slow_float(const JsonNumber& number);

inline constexpr double kExactPowers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                          1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

inline double with_sign(double value, bool negative) {
    return std::bit_cast<double>(std::bit_cast<uint64_t>(value) | static_cast<uint64_t>(negative) << 63);
}

// 10^e for e from -kLargestPower to kLargestPower, rounded to float64.
inline constexpr auto kPowersOfTen = [] {
    std::array<double, 2 * kLargestPower + 1> powers{};
    for (int e = -kLargestPower; e <= kLargestPower; ++e) {
        const PowerOfFive& five = power_of_five(e);
        uint64_t bits = five.high >> 11;
        bits += five.high >> 10 & 1;  // half a unit off at most: ties are not looked at
        const int exponent = five.exponent + 64 + e + 11 + 52 + 1023;
        powers[static_cast<size_t>(e + kLargestPower)] = std::bit_cast<double>(bits + (static_cast<uint64_t>(exponent - 1) << 52));
    }
    return powers;
}();

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

// Reads a number at p and returns where it ends; null if there is none by the grammar.
inline const uint8_t* scan_number(const uint8_t* p, const uint8_t* end, JsonNumber& number) {
    number.begin = p;
    number.negative = *p == '-';
    const uint8_t* q = p + number.negative;
    const uint8_t* const first = q;
#ifdef __SSE4_1__
    if (end - q >= 24) {
        if (const uint8_t* const after = json_number::short_number(q, number.mantissa, number.exponent); after != nullptr) [[likely]] {
            number.whole = true;
            number.end = after;
            return after;
        }
    }
#endif
    uint64_t mantissa = 0;
    while (is_digit(*q)) mantissa = mantissa * 10 + static_cast<uint8_t>(*q++ - '0');  // mostly few
    if (q - first != 1 && (q == first || *first == '0')) return nullptr;
    number.exponent = 0;
    ptrdiff_t count = q - first;
    if (*q == '.') {
        const uint8_t* const fraction = ++q;
        q = json_number::digits(q, end, mantissa);
        if (q == fraction) return nullptr;
        number.exponent = fraction - q;
        count += q - fraction;
    }
    number.mantissa = mantissa;
    number.whole = count <= 19;
    if ((*q | 0x20) == 'e' && !json_number::exponent(q, number)) return nullptr;
    number.end = q;
    if (!number.whole) json_number::recount(number);
    return q;
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
            return json_number::with_sign(value, number.negative);
        }
        if (mantissa != 0 && number.exponent >= -kLargestPower && number.exponent <= kLargestPower &&
            json_number::quick_double(mantissa, static_cast<int>(number.exponent), value))
            return json_number::with_sign(value, number.negative);
    }
    return json_number::slow_double(number);
}

// The nearest float32, ties to even; infinite beyond its range.
inline float to_float(const JsonNumber& number) {
    const int64_t row = number.exponent + kLargestPower;
    if (number.whole && static_cast<int64_t>(number.mantissa) >= 0 && row >= 0 && row <= 2 * kLargestPower) [[likely]] {
        // mantissa, power and product are each rounded once: at most 2^-51 of the value off, 4 of a float64's last place.
        const double near = static_cast<double>(static_cast<int64_t>(number.mantissa)) *
                            json_number::kPowersOfTen[static_cast<size_t>(row)];
        const auto bits = std::bit_cast<uint64_t>(near);
        // That decides nothing unless the value lies that near to the middle between two float32. 0x381 is the biased
        // exponent of 2^-126: below it float32 is denormal, and the middles are elsewhere.
        const bool middle = ((bits + 8 - 0x10000000) & 0x1fffffff) <= 16;
        const bool small = bits - 1 < (uint64_t{0x381} << 52) - 1;  // and not zero
        if (!middle && !small) [[likely]]
            return static_cast<float>(json_number::with_sign(near, number.negative));
    }
    return json_number::slow_float(number);
}

// The integer that is spelled, in any way (7, 7.0, 70e-1): false if it is none, or none from -2^63 to 2^64 - 1.
// magnitude has its size, number.negative its sign.
bool to_integer(const JsonNumber& number, uint64_t& magnitude);

}  // namespace ovms
