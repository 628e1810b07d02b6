// Decimal digits of a binary number, and where the point goes among them, without branches: what numbers look like is
// mostly unpredictable, and a processor that guesses wrong at a branch loses more time than all of this takes.
#pragma once

#ifdef __SSE4_1__
#include <smmintrin.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace ovms::decimal_text {

inline constexpr uint64_t kEightZeros = 0x3030303030303030;  // eight '0'

// The eight digits of a value below 10^8, one in each byte, the first one in the lowest. Division by 100 and by 10 are
// multiplications here, exact for so small numbers, done for all parts of the register at once.
inline uint64_t eight_digits(uint32_t value) {
    const uint64_t fours = value / 10000 | static_cast<uint64_t>(value % 10000) << 32;
    const uint64_t hundreds = (fours * 10486 >> 20) & 0x0000007f0000007f;
    const uint64_t pairs = hundreds | (fours - 100 * hundreds) << 16;
    const uint64_t tens = (pairs * 103 >> 10) & 0x000f000f000f000f;
    return tens | (pairs - 10 * tens) << 8;
}

// Digits of a number of up to nine: their values, one in each byte from the first significant one on, zeros behind.
struct Digits {
    uint64_t eight = 0;  // the first one in the lowest byte
    uint64_t ninth = 0;
    int count = 0;        // without zeros in front
    int significant = 0;  // without those at the end either
};

inline Digits split(uint32_t value) {
    const uint32_t first = value / 100000000;
    const uint64_t others = eight_digits(value - first * 100000000);
    const uint64_t nine = 0 - static_cast<uint64_t>(first != 0);  // a mask
    const int zeros_before = std::countr_zero(others | uint64_t{1} << 63) / 8;
    Digits digits;
    digits.eight = (nine & (others << 8 | first)) | (~nine & others >> (8 * zeros_before));
    digits.ninth = nine & others >> 56;
    digits.count = 8 - (zeros_before & static_cast<int>(~nine)) + static_cast<int>(nine & 1);
    const int zeros_behind = std::countr_zero(__builtin_bswap64(digits.eight) | uint64_t{1} << 63) / 8;
    const int has_ninth = -static_cast<int>(digits.ninth != 0);  // a mask
    digits.significant = (9 & has_ninth) | ((8 - zeros_behind) & ~has_ninth);
    return digits;
}

// Where the digits stand for which write_point has a layout: 0.000ddd to dddddddddddddd.0
inline constexpr int kFirstPoint = -3, kLastPoint = 14;

// Writes the digits with point of them before the point (0 or less: zeros behind it) and at least one after it.
// Writes 16 bytes, at most 32 without SSE; returns where the text ends.
inline char* write_point(char* out, const Digits& digits, int point) {
#ifdef __SSE4_1__
    struct alignas(16) Layout {
        std::array<uint8_t, 16> from;  // which digit goes where, or none
        std::array<uint8_t, 16> plus;  // '0' or '.'
        int others;                    // characters that are no digits of the number
        int least;                     // characters at least
    };
    static constexpr auto layouts = [] {
        std::array<Layout, kLastPoint - kFirstPoint + 1> rows{};
        for (int p = kFirstPoint; p <= kLastPoint; ++p) {
            const int zeros = p < 1 ? 1 - p : 0, dot = p < 1 ? 1 : p;
            Layout& row = rows[static_cast<size_t>(p - kFirstPoint)];
            for (int i = 0; i < 16; ++i) {
                const int digit = (i < dot ? i : i - 1) - zeros;
                row.from[static_cast<size_t>(i)] = static_cast<uint8_t>(i == dot || digit < 0 || digit > 8 ? 0x80 : digit);
                row.plus[static_cast<size_t>(i)] = i == dot ? '.' : '0';
            }
            row.others = 1 + zeros;
            row.least = dot + 2;
        }
        return rows;
    }();
    const Layout& layout = layouts[static_cast<size_t>(point - kFirstPoint)];
    const __m128i values = _mm_set_epi64x(static_cast<int64_t>(digits.ninth), static_cast<int64_t>(digits.eight));
    const __m128i from = _mm_load_si128(reinterpret_cast<const __m128i*>(layout.from.data()));
    const __m128i plus = _mm_load_si128(reinterpret_cast<const __m128i*>(layout.plus.data()));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_add_epi8(_mm_shuffle_epi8(values, from), plus));
    return out + std::max(digits.significant + layout.others, layout.least);
#else
    const int added = std::max(0, 1 - point);
    const int place = std::max(1, point);
    char text[32];
    std::memset(text, '0', sizeof(text));
    const uint64_t eight = digits.eight + kEightZeros;
    std::memcpy(text + added, &eight, 8);
    text[added + 8] = static_cast<char>('0' + digits.ninth);
    std::memcpy(out, text, 16);
    out[place] = '.';
    std::memcpy(out + place + 1, text + place, 16);
    return out + 1 + std::max(digits.significant + added, place + 1);
#endif
}

// Writes a value below 10^16 as it is, or with zeros in front as sixteen digits (all). Writes 16 bytes.
inline char* write_sixteen(char* out, uint64_t value, bool all) {
    const auto high = static_cast<uint32_t>(value / 100000000), low = static_cast<uint32_t>(value % 100000000);
#ifdef __SSE4_1__
    const __m128i fours = _mm_set_epi32(static_cast<int>(low % 10000), static_cast<int>(low / 10000),
                                        static_cast<int>(high % 10000), static_cast<int>(high / 10000));
    const __m128i hundreds = _mm_srli_epi16(_mm_mulhi_epu16(fours, _mm_set1_epi16(5243)), 3);
    const __m128i below = _mm_sub_epi16(fours, _mm_mullo_epi16(hundreds, _mm_set1_epi16(100)));
    const __m128i pairs = _mm_or_si128(hundreds, _mm_slli_epi32(below, 16));
    const __m128i tens = _mm_mulhi_epu16(pairs, _mm_set1_epi16(6554));
    const __m128i ones = _mm_sub_epi16(pairs, _mm_mullo_epi16(tens, _mm_set1_epi16(10)));
    const __m128i digits = _mm_or_si128(tens, _mm_slli_epi16(ones, 8));
    const int zeros = _mm_movemask_epi8(_mm_cmpeq_epi8(digits, _mm_setzero_si128()));
    const int zeros_before = all ? 0 : std::countr_zero((~static_cast<unsigned>(zeros) & 0x7fff) | 0x8000);
    alignas(16) static constexpr uint8_t moves[32] = {0,    1,    2,    3,    4,    5,    6,    7,    8,    9,    10,
                                                      11,   12,   13,   14,   15,   0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                                                      0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80};
    const __m128i move = _mm_loadu_si128(reinterpret_cast<const __m128i*>(moves + zeros_before));
    const __m128i text = _mm_add_epi8(_mm_shuffle_epi8(digits, move), _mm_set1_epi8('0'));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), text);
#else
    char text[32];
    const uint64_t halves[] = {eight_digits(high), eight_digits(low)};
    const int zeros_before = all             ? 0
                             : halves[0] != 0 ? std::countr_zero(halves[0]) / 8
                                              : 8 + std::countr_zero(halves[1] | uint64_t{1} << 63) / 8;
    const uint64_t spelled[] = {halves[0] + kEightZeros, halves[1] + kEightZeros};
    std::memcpy(text, spelled, 16);
    std::memcpy(out, text + zeros_before, 16);
#endif
    return out + 16 - zeros_before;
}

}  // namespace ovms::decimal_text
