// 128-bit powers of five, for decimal <-> binary conversion. Made by the compiler, nothing is typed in.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace ovms {

using Uint128 = unsigned __int128;

// 5^q = value * 2^exponent, with the highest bit of value set. Exact for q >= 0; rounded down for q < 0.
struct PowerOfFive {
    uint64_t high = 0;
    uint64_t low = 0;
    int exponent = 0;
};

// Beyond it 5^q takes more than 128 bits (q > 55), and the long division below would overflow (q < -54).
inline constexpr int kLargestPower = 54;

namespace powers_of_five {

constexpr int bit_width(Uint128 value) {
    const auto high = static_cast<uint64_t>(value >> 64);
    return high != 0 ? 64 + std::bit_width(high) : std::bit_width(static_cast<uint64_t>(value));
}

constexpr PowerOfFive entry(int q) {
    Uint128 power = 1;
    for (int i = 0; i < (q < 0 ? -q : q); ++i) power *= 5;
    const int bits = bit_width(power);
    if (q >= 0) {
        const Uint128 value = power << (128 - bits);
        return {static_cast<uint64_t>(value >> 64), static_cast<uint64_t>(value), bits - 128};
    }
    // The first 128 bits of 1 / power, by long division: of 2^(bits - 1), which is less than power, digit after digit.
    Uint128 rest = Uint128{1} << (bits - 1);
    Uint128 value = 0;
    for (int i = 0; i < 128; ++i) {
        rest <<= 1;
        value <<= 1;
        if (rest >= power) {
            rest -= power;
            value |= 1;
        }
    }
    return {static_cast<uint64_t>(value >> 64), static_cast<uint64_t>(value), 1 - bits - 128};
}

constexpr auto table() {
    std::array<PowerOfFive, 2 * kLargestPower + 1> rows{};
    for (int q = -kLargestPower; q <= kLargestPower; ++q) rows[static_cast<size_t>(q + kLargestPower)] = entry(q);
    return rows;
}

inline constexpr auto kTable = table();

}  // namespace powers_of_five

// For q from -kLargestPower to kLargestPower
constexpr const PowerOfFive& power_of_five(int q) { return powers_of_five::kTable[static_cast<size_t>(q + kLargestPower)]; }

}  // namespace ovms
