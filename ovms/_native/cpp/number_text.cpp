#include "number_text.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

#include "decimal_text.hpp"
#include "powers_of_five.hpp"

namespace ovms {
namespace {

using namespace decimal_text;

// yes or no, without a branch: nothing predicts what numbers look like.
template <class T>
T pick(bool condition, T yes, T no) {
    const T mask = static_cast<T>(-static_cast<T>(condition));
    return static_cast<T>((yes & mask) | (no & ~mask));
}

char* copy(char* out, const char* text, size_t size) {
    std::memcpy(out, text, size);
    return out + size;
}

// value * 10^power for a value of up to nine digits.
char* write_decimal(char* out, uint32_t value, int power) {
    const Digits digits = split(value);
    const int point = digits.count + power;
    if (point >= kFirstPoint && point <= kLastPoint) [[likely]] return write_point(out, digits, point);
    if (point > 0 && point <= 16) {  // 123456789000000.0
        std::memset(out, '0', 16);
        const uint64_t eight = digits.eight + kEightZeros;
        std::memcpy(out, &eight, 8);
        out[8] = static_cast<char>('0' + digits.ninth);
        return copy(out + point, ".0", 2);
    }
    out = write_point(out, digits, 1) - (digits.significant == 1 ? 2 : 0);  // d.ddd or d
    *out++ = 'e';
    if (point < 1) *out++ = '-';
    return write_unsigned(out, static_cast<uint64_t>(point < 1 ? 1 - point : point - 1));
}

// floor(log10(2^e)), or of 3/4 of it
int floor_log10(int e, bool three_quarters) { return (e * 1262611 - (three_quarters ? 524031 : 0)) >> 22; }
int floor_log2_of_power_of_ten(int k) { return (k * 1741647) >> 19; }

// g * c / 2^64, its last bit set if the part left out was more than 1/2^32 of it
uint32_t scale(uint64_t g, uint32_t c) {
    const Uint128 product = Uint128{g} * c;
    return static_cast<uint32_t>(product >> 64) | (static_cast<uint32_t>(product >> 32) > 1 ? 1 : 0);
}

struct Decimal {
    uint32_t value;
    int power;
};

// The shortest decimal in the interval that rounds to significand * 2^exponent, the closest of them if there are several
// (R. Giulietti, "The Schubfach way to render doubles", 2020). lower_closer: the next smaller float is only half as far
// away as the next larger one. significand below 2^24.
Decimal shortest(uint32_t significand, int exponent, bool lower_closer) {
    const bool even = (significand & 1) == 0;
    const int k = floor_log10(exponent, lower_closer);
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
    const uint32_t same = decimal + pick(below != above, uint32_t{above}, uint32_t{closer_above});
    return {pick(shorter, tenth + shorter_above, same), k + shorter};
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
    const Decimal decimal = shortest(normal ? fraction | 1u << kBits : fraction, static_cast<int>(normal ? field : 1) - kBias,
                                     fraction == 0 && field > 1);
    return write_decimal(out, decimal.value, decimal.power);
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
    constexpr uint64_t sixteen_places = 10000000000000000;
    if (value < sixteen_places) return write_sixteen(out, value, false);
    return write_sixteen(write_sixteen(out, value / sixteen_places, false), value % sixteen_places, true);
}

char* write_integer(char* out, int64_t value) {
    if (value >= 0) return write_unsigned(out, static_cast<uint64_t>(value));
    *out = '-';
    return write_unsigned(out + 1, 0 - static_cast<uint64_t>(value));
}

}  // namespace ovms
