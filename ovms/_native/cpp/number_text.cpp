#include "number_text.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

#include "powers_of_five.hpp"

namespace ovms {
namespace {

constexpr Uint128 kZeros = Uint128{0x3030303030303030} << 64 | 0x3030303030303030;  // sixteen '0'

char* copy(char* out, const char* text, size_t size) {
    std::memcpy(out, text, size);
    return out + size;
}

// The eight digits of a value below 10^8, one in each byte, the first one in the lowest. Division by 100 and by 10 are
// multiplications here, exact for so small numbers, done for all parts of the register at once.
uint64_t eight_digits(uint32_t value) {
    const uint64_t fours = value / 10000 | static_cast<uint64_t>(value % 10000) << 32;
    const uint64_t hundreds = (fours * 10486 >> 20) & 0x0000007f0000007f;
    const uint64_t pairs = hundreds | (fours - 100 * hundreds) << 16;
    const uint64_t tens = (pairs * 103 >> 10) & 0x000f000f000f000f;
    return tens | (pairs - 10 * tens) << 8;
}

void store(char* out, Uint128 bytes) { std::memcpy(out, &bytes, 16); }

// Beyond the range of plain notation, or nearly: d.ddde-7, 1234567800000000.0. digits: their values, one in each byte.
char* write_wide(char* out, Uint128 digits, int significant, int point) {
    digits += kZeros;
    if (point > 0 && point <= 16) {
        store(out, digits);
        return copy(out + point, ".0", 2);
    }
    *out = static_cast<char>(digits);
    out[1] = '.';
    store(out + 2, digits >> 8);
    out += significant == 1 ? 1 : significant + 1;
    *out++ = 'e';
    if (point < 1) *out++ = '-';
    return write_unsigned(out, static_cast<uint64_t>(point < 1 ? 1 - point : point - 1));
}

// value * 10^power for a value of up to nine digits. Put together in a register and stored at once: what numbers look
// like is mostly unpredictable, and a processor that guesses wrong at a branch loses more time than all of this takes.
char* write_decimal(char* out, uint32_t value, int power) {
    const uint32_t first = value / 100000000;
    const uint64_t others = eight_digits(value - first * 100000000);
    const int zeros_before = first != 0 ? 0 : 1 + std::countr_zero(others) / 8;
    const int significant = (others == 0 ? 1 : 9 - std::countl_zero(others) / 8) - zeros_before;
    Uint128 digits = (Uint128{others} << 8 | first) >> (8 * zeros_before);
    const int point = 9 - zeros_before + power;  // digits before the point
    if (point < -3 || point > 14) return write_wide(out, digits, significant, point);
    const int added = point < 1 ? 1 - point : 0;  // 0.00ddd
    digits = (digits << (8 * added)) + kZeros;
    const int place = point + added;
    const Uint128 before = (Uint128{1} << (8 * place)) - 1;
    store(out, (digits & before) | Uint128{'.'} << (8 * place) | (digits & ~before) << 8);
    return out + 1 + std::max(significant + added, place + 1);
}

int floor_log10_of_power_of_two(int e) { return (e * 1262611) >> 22; }
int floor_log10_of_three_quarters(int e) { return (e * 1262611 - 524031) >> 22; }  // of 3/4 * 2^e
int floor_log2_of_power_of_ten(int k) { return (k * 1741647) >> 19; }

// g * c / 2^64, its last bit set if the part left out was more than 1/2^32 of it
uint32_t scale(uint64_t g, uint32_t c) {
    const Uint128 product = Uint128{g} * c;
    return static_cast<uint32_t>(product >> 64) | (static_cast<uint32_t>(product >> 32) > 1 ? 1 : 0);
}

// The shortest decimal in the interval that rounds to significand * 2^exponent, the closest of them if there are several
// (R. Giulietti, "The Schubfach way to render doubles", 2020). lower_closer: the next smaller float is only half as far
// away as the next larger one. significand below 2^24.
char* write_shortest(char* out, uint32_t significand, int exponent, bool lower_closer) {
    const bool even = (significand & 1) == 0;
    const int k = lower_closer ? floor_log10_of_three_quarters(exponent) : floor_log10_of_power_of_two(exponent);
    const int h = exponent + floor_log2_of_power_of_ten(-k) + 1;
    const uint64_t g = power_of_five(-k).high + 1;
    const uint32_t middle = 4 * significand;
    const uint32_t low = scale(g, (middle - 2 + (lower_closer ? 1 : 0)) << h) + (even ? 0 : 1);
    const uint32_t value = scale(g, middle << h);
    const uint32_t high = scale(g, (middle + 2) << h) - (even ? 0 : 1);
    const uint32_t decimal = value / 4;
    // One digit less, if exactly one such number lies in the interval; else the closer neighbour that does.
    const uint32_t tenth = decimal / 10;
    const bool shorter_below = low <= 40 * tenth;
    const bool shorter_above = 40 * tenth + 40 <= high;
    const bool shorter = decimal >= 10 && shorter_below != shorter_above;
    const bool below = low <= 4 * decimal;
    const bool above = 4 * decimal + 4 <= high;
    const bool closer_above = value + (decimal & 1) > 4 * decimal + 2;
    const uint32_t same = decimal + (below != above ? above : closer_above);
    return write_decimal(out, shorter ? tenth + shorter_above : same, k + shorter);
}

// A binary float of kBits significand bits (without the leading one) and this exponent range, by its bits.
template <int kBits, int kExponentBits>
char* write_bits(char* out, uint32_t bits) {
    constexpr int kBias = (1 << (kExponentBits - 1)) - 1 + kBits;
    constexpr uint32_t kSpecial = (1u << kExponentBits) - 1;
    const uint32_t fraction = bits & ((1u << kBits) - 1);
    const uint32_t field = bits >> kBits & kSpecial;
    const bool negative = (bits >> (kBits + kExponentBits) & 1) != 0;
    if (field == kSpecial && fraction != 0) return copy(out, "NaN", 3);
    *out = '-';
    out += negative;
    if (field == kSpecial) return copy(out, "Infinity", 8);
    if (field == 0 && fraction == 0) return copy(out, "0.0", 3);
    const bool normal = field != 0;
    return write_shortest(out, normal ? fraction | 1u << kBits : fraction, static_cast<int>(normal ? field : 1) - kBias,
                          fraction == 0 && field > 1);
}

}  // namespace

char* write_float(char* out, float value) { return write_bits<23, 8>(out, std::bit_cast<uint32_t>(value)); }
char* write_half(char* out, uint16_t bits) { return write_bits<10, 5>(out, bits); }
char* write_bfloat(char* out, uint16_t bits) { return write_bits<7, 8>(out, bits); }

char* write_double(char* out, double value) {
    if (std::isnan(value)) return copy(out, "NaN", 3);
    if (std::isinf(value)) return value < 0 ? copy(out, "-Infinity", 9) : copy(out, "Infinity", 8);
    const double size = std::fabs(value);
    const bool fixed = value == 0 || (size >= 1e-4 && size < 1e16);
    char* const end =
        std::to_chars(out, out + kLongestNumber, value, fixed ? std::chars_format::fixed : std::chars_format::scientific).ptr;
    if (!fixed || std::memchr(out, '.', static_cast<size_t>(end - out)) != nullptr) return end;
    return copy(end, ".0", 2);
}

char* write_unsigned(char* out, uint64_t value) {
    if (value < 100000000) {
        const uint64_t digits = eight_digits(static_cast<uint32_t>(value));
        const int zeros_before = std::min(7, std::countr_zero(digits) / 8);
        const uint64_t text = (digits + static_cast<uint64_t>(kZeros)) >> (8 * zeros_before);
        std::memcpy(out, &text, 8);
        return out + 8 - zeros_before;
    }
    const uint64_t high = value / 100000000;
    out = write_unsigned(out, high);
    const uint64_t text = eight_digits(static_cast<uint32_t>(value - high * 100000000)) + static_cast<uint64_t>(kZeros);
    std::memcpy(out, &text, 8);
    return out + 8;
}

char* write_integer(char* out, int64_t value) {
    if (value >= 0) return write_unsigned(out, static_cast<uint64_t>(value));
    *out = '-';
    return write_unsigned(out + 1, 0 - static_cast<uint64_t>(value));
}

}  // namespace ovms
