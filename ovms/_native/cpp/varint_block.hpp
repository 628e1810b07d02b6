// Runs of varints, 64 bytes at a time. A varint ends at the first byte below 0x80, so the ends in a block are the bits
// of one word, and neither finding nor joining its bytes needs a branch that depends on the values.
//
// PERF: `benchmarks/README.md`, codec rows of int_val, int64_val and half_val: one varint after the other took 2 to 7
// times as long, most of it mispredicted branches.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace ovms {

inline constexpr size_t kBlock = 64;
// How many bytes must remain for a block's values to be read: the last of them is loaded as if it were a long one.
inline constexpr size_t kBlockReach = kBlock + 16;

// Bit i: whether data[i] < 0x80. Reads kBlock bytes.
inline uint64_t small_bytes(const uint8_t* data) {
    uint64_t large = 0;
#ifdef __SSE2__
    for (int i = 0; i < 4; ++i) {
        const __m128i lane = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data + 16 * i));
        large |= static_cast<uint64_t>(_mm_movemask_epi8(lane)) << (16 * i);
    }
#else
    for (int i = 0; i < 8; ++i) {
        uint64_t word;
        std::memcpy(&word, data + 8 * i, 8);
        large |= (((word >> 7) & 0x0101010101010101u) * 0x0102040810204080u >> 56) << (8 * i);
    }
#endif
    return ~large;
}

// Bit i: whether data[i] == wanted. Reads kBlock bytes.
inline uint64_t equal_bytes(const uint8_t* data, uint8_t wanted) {
    std::array<uint8_t, kBlock> differs;
    for (size_t i = 0; i < kBlock; ++i) differs[i] = data[i] == wanted ? 0 : 0x80;
    return small_bytes(differs.data());
}

// The varints that are whole in a block.
struct VarintBlock {
    uint64_t ends = 0;  // bit i: byte i is the last of one; 0: nothing here that can be read in a block
    int longest = 0;    // 1, 2, 4, 8 or 10: no varint of the block has more bytes

    size_t count() const { return static_cast<size_t>(std::popcount(ends)); }
    size_t bytes() const { return kBlock - static_cast<size_t>(std::countl_zero(ends)); }
};

// kTagged: each value has the one-byte tag before it, data points to the first tag, and the block goes up to where the
// tags stop. Without, values stand side by side. Reads kBlock bytes.
template <bool kTagged>
VarintBlock find_varints(const uint8_t* data, uint8_t tag) {
    VarintBlock block;
    const uint64_t ends = small_bytes(data);
    const uint64_t open = ~ends, two = open & open << 1, four = two & two << 2, eight = four & four << 4;
    if ((eight & four << 6) != 0) return block;  // ten in a row are no varint: the cursor says where
    block.longest = open == 0 ? 1 : two == 0 ? 2 : four == 0 ? 4 : eight == 0 ? 8 : 10;
    block.ends = ends;
    if constexpr (kTagged) {
        uint64_t odd = ends;  // bit i: an odd number of ends up to here, that is in a tag's turn
        for (int shift = 1; shift < 64; shift *= 2) odd ^= odd << shift;
        const uint64_t values = ends & ~odd;
        const uint64_t tags = equal_bytes(data, tag) & (values << 1 | 1);  // one byte, right behind a value
        const uint64_t others = ends & odd & ~tags;
        block.ends = others == 0 ? values : values & ((others & -others) - 1);
    }
    return block;
}

// Joins a varint's groups of seven bits; the bits that say whether it goes on are zero.
template <class Word>
Word join_groups(Word word) {
    if constexpr (sizeof(Word) == 2) {
        return static_cast<Word>((word & 0x7f) | (word >> 1 & 0x3f80));
    } else if constexpr (sizeof(Word) == 4) {
        word = (word & 0x007f007f) | (word >> 1 & 0x3f803f80);
        return (word & 0x3fff) | (word >> 2 & 0x0fffc000);
    } else {
        word = (word & 0x007f007f007f007f) | (word >> 1 & 0x3f803f803f803f80);
        word = (word & 0x00003fff00003fff) | (word >> 2 & 0x0fffc0000fffc000);
        return (word & 0x0fffffff) | (word >> 4 & 0x00fffffff0000000);
    }
}

// One varint as an element of T, in which misfit gets bits set if an int32 field's value does not fit T.
template <class T, bool kChecked>
T narrow(uint64_t raw, uint32_t& misfit) {
    const auto value = static_cast<T>(raw);
    if constexpr (kChecked) misfit |= static_cast<uint32_t>(raw) ^ static_cast<uint32_t>(static_cast<int32_t>(value));
    return value;
}

// The values of a block whose varints have at most sizeof(Word) bytes, or 10 if T does not need the upper bits.
template <class Word, class T, bool kTagged, bool kChecked>
bool read_words(const uint8_t* data, VarintBlock block, T* out) {
    // By a varint's length less one, the bits that count. For Word = uint64_t and longer ones: all there are.
    constexpr std::array<uint64_t, 10> kGroups{
        0x7f, 0x7f7f, 0x7f7f7f, 0x7f7f7f7f, 0x7f7f7f7f7f, 0x7f7f7f7f7f7f, 0x7f7f7f7f7f7f7f,
        0x7f7f7f7f7f7f7f7f, 0x7f7f7f7f7f7f7f7f, 0x7f7f7f7f7f7f7f7f};
    std::array<Word, kBlock> words;
    const size_t count = block.count();
    size_t start = kTagged;
    for (size_t i = 0; i < count; ++i) {
        const auto end = static_cast<size_t>(std::countr_zero(block.ends));
        block.ends &= block.ends - 1;
        std::memcpy(&words[i], data + start, sizeof(Word));
        words[i] &= static_cast<Word>(kGroups[end - start]);
        start = end + 1 + kTagged;
    }
    uint32_t misfit = 0;
    for (size_t i = 0; i < count; ++i) out[i] = narrow<T, kChecked>(join_groups(words[i]), misfit);
    return misfit == 0;
}

// The same for varints of any length and T of eight bytes: the ninth and tenth byte are added, if there are any.
template <class T, bool kTagged>
bool read_long(const uint8_t* data, VarintBlock block, T* out) {
    std::array<uint64_t, kBlock> tops;
    size_t start = kTagged, count = 0;
    for (uint64_t ends = block.ends; ends != 0; ends &= ends - 1) {
        const auto end = static_cast<size_t>(std::countr_zero(ends));
        const auto ninth = static_cast<uint64_t>(data[start + 8] & 0x7f), tenth = static_cast<uint64_t>(data[start + 9]);
        tops[count++] = (end - start >= 8 ? ninth << 56 : 0) | (end - start >= 9 ? tenth << 63 : 0);
        start = end + 1 + kTagged;
    }
    (void)read_words<uint64_t, T, kTagged, false>(data, block, out);
    for (size_t i = 0; i < count; ++i) out[i] = static_cast<T>(static_cast<uint64_t>(out[i]) | tops[i]);
    return true;
}

// Writes the block's values. False if one of them does not fit T, and then what was written means nothing.
// Reads kBlockReach bytes.
template <class T, bool kTagged, bool kChecked>
bool read_block(const uint8_t* data, VarintBlock block, T* out) {
    constexpr size_t stride = 1 + kTagged;
    switch (block.longest) {
        case 1: {
            uint32_t misfit = 0;
            for (size_t i = 0, n = block.count(); i < n; ++i)
                out[i] = narrow<T, kChecked>(data[i * stride + kTagged], misfit);
            return misfit == 0;
        }
        case 2: return read_words<uint16_t, T, kTagged, kChecked>(data, block, out);
        case 4: return read_words<uint32_t, T, kTagged, kChecked>(data, block, out);
        case 10:
            if constexpr (std::is_same_v<T, bool>) return false;  // its upper bits count too, and nobody sends them
            if constexpr (sizeof(T) == 8) return read_long<T, kTagged>(data, block, out);
            [[fallthrough]];
        default: return read_words<uint64_t, T, kTagged, kChecked>(data, block, out);
    }
}

}  // namespace ovms
