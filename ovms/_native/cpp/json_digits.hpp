// Digits of a text, eight or sixteen at a time.
//
// How many digits a number has is mostly unpredictable, and a processor that guesses wrong at a branch loses more time
// than all of this takes: so nothing here branches on it.
#pragma once

#ifdef __SSE4_1__
#include <smmintrin.h>
#endif

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace ovms {

inline bool is_digit(uint8_t byte) { return static_cast<uint8_t>(byte - '0') <= 9; }

namespace json_number {

// The value of eight digits, one in each byte, the first one in the lowest: pairs, then fours, then all of them.
inline uint64_t value_of_eight(uint64_t digits) {
    digits = digits * 10 + (digits >> 8);
    return (((digits & 0x000000ff000000ffu) * 0x000f424000000064u) +
            ((digits >> 16 & 0x000000ff000000ffu) * 0x0000271000000001u)) >> 32;
}

inline constexpr uint64_t kPowers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

// How many of eight bytes are digits, before the first that is none.
inline int leading_digits(uint64_t bytes) {
    const uint64_t others = ((bytes + 0x4646464646464646u) | (bytes - 0x3030303030303030u)) & 0x8080808080808080u;
    return std::countr_zero(others | uint64_t{1} << 63) / 8 + (others == 0 ? 1 : 0);
}

// Their value.
inline uint64_t value_of(uint64_t bytes, int count) {
    const int half = 32 - 4 * count;  // what follows goes, zeros come in front; a register cannot be shifted by 64 at once
    return value_of_eight((bytes - 0x3030303030303030u) << half << half);
}

// Digits from p on; mantissa may overflow, its user counts the digits.
inline const uint8_t* digits(const uint8_t* p, const uint8_t* end, uint64_t& mantissa) {
    while (end - p >= 16) {
        uint64_t first, second;
        std::memcpy(&first, p, 8);
        std::memcpy(&second, p + 8, 8);
        const int in_first = leading_digits(first);
        const int in_second = in_first == 8 ? leading_digits(second) : 0;
        mantissa = mantissa * kPowers[in_first] + value_of(first, in_first);
        mantissa = mantissa * kPowers[in_second] + value_of(second, in_second);
        p += in_first + in_second;
        if (in_second < 8) return p;
    }
    while (is_digit(*p)) mantissa = mantissa * 10 + static_cast<uint8_t>(*p++ - '0');
    return p;
}

#ifdef __SSE4_1__  // which OpenVINO itself needs on x86

// Shuffles that move the digits of dd.ddd to the end of sixteen bytes, zeros before them, the point left out. By place
// of the point and length; a length as its own point means that there is none.
struct alignas(16) Shuffle {
    std::array<uint8_t, 16> from;
};
inline constexpr auto kShuffles = [] {
    std::array<std::array<Shuffle, 17>, 17> shuffles{};
    for (size_t point = 0; point <= 16; ++point) {
        for (size_t length = point; length <= 16; ++length) {
            const size_t digits = length - (point < length ? 1 : 0);
            auto& from = shuffles[point][length].from;
            for (size_t i = 0; i < 16; ++i) {
                const size_t digit = i + digits - 16;  // wraps for the zeros
                from[i] = static_cast<uint8_t>(i + digits < 16 ? 0x80 : digit < point ? digit : digit + 1);
            }
        }
    }
    return shuffles;
}();

// The number that sixteen digits, one in each byte, stand for.
inline uint64_t value_of_sixteen(__m128i digits) {
    const __m128i pairs = _mm_maddubs_epi16(digits, _mm_set1_epi16(0x010a));       // 10 and 1
    const __m128i fours = _mm_madd_epi16(pairs, _mm_set1_epi32(0x00010064));       // 100 and 1
    const __m128i packed = _mm_packus_epi32(fours, fours);
    const __m128i eights = _mm_madd_epi16(packed, _mm_set1_epi32(0x00012710));     // 10000 and 1
    const auto both = static_cast<uint64_t>(_mm_cvtsi128_si64(eights));
    return (both & 0xffffffff) * 100000000 + (both >> 32);
}

// Digits with a point among them or not, from p on; null if that is not all, or too long: then scan_number has to look
// again. Reads 24 bytes.
inline const uint8_t* short_number(const uint8_t* p, uint64_t& mantissa, int64_t& exponent) {
    const __m128i values = _mm_sub_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), _mm_set1_epi8('0'));
    const __m128i others = _mm_cmpeq_epi8(_mm_max_epu8(values, _mm_set1_epi8(10)), values);
    const auto mask = static_cast<unsigned>(_mm_movemask_epi8(others));
    if (mask == 0) return nullptr;
    const auto point = static_cast<unsigned>(std::countr_zero(mask));
    unsigned length = point;
    if (p[point] == '.') [[likely]] {
        length = static_cast<unsigned>(std::countr_zero((mask & (mask - 1)) | 0x10000));
        if (length == point + 1) return nullptr;
    }
    if (point == 0 || (point > 1 && *p == '0')) [[unlikely]] return nullptr;
    const auto& shuffle = kShuffles[point][length];
    const __m128i digits = _mm_shuffle_epi8(values, _mm_load_si128(reinterpret_cast<const __m128i*>(&shuffle)));
    mantissa = value_of_sixteen(digits);
    exponent = static_cast<int>(point) - static_cast<int>(length) + (point < length ? 1 : 0);
    const uint8_t* end = p + length;
    if (length == 16) {  // 15 digits, and more
        uint64_t bytes;
        std::memcpy(&bytes, end, 8);
        const int more = leading_digits(bytes);
        if (more > 4) return nullptr;
        mantissa = mantissa * kPowers[more] + value_of(bytes, more);
        exponent -= more;
        end += more;
    }
    return (*end | 0x20) == 'e' ? nullptr : end;
}

#endif

}  // namespace json_number
}  // namespace ovms
