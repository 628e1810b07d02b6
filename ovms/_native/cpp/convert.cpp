#include "convert.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

namespace ovms {
namespace {

struct Half { uint16_t bits; };
struct Bfloat { uint16_t bits; };
struct Bool { uint8_t value; };

template <DType> struct Element;
template <> struct Element<DType::kF32> { using type = float; };
template <> struct Element<DType::kF64> { using type = double; };
template <> struct Element<DType::kF16> { using type = Half; };
template <> struct Element<DType::kBF16> { using type = Bfloat; };
template <> struct Element<DType::kI8> { using type = int8_t; };
template <> struct Element<DType::kI16> { using type = int16_t; };
template <> struct Element<DType::kI32> { using type = int32_t; };
template <> struct Element<DType::kI64> { using type = int64_t; };
template <> struct Element<DType::kU8> { using type = uint8_t; };
template <> struct Element<DType::kU16> { using type = uint16_t; };
template <> struct Element<DType::kU32> { using type = uint32_t; };
template <> struct Element<DType::kU64> { using type = uint64_t; };
template <> struct Element<DType::kBool> { using type = Bool; };

float bfloat_to_float(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t float_to_bfloat(float value) {
    const auto bits = std::bit_cast<uint32_t>(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);  // quiet NaN
    return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}

// The nearest float towards an odd last bit: rounding that once more, to fewer bits, errs nowhere near a tie.
float round_to_odd(double value) {
    const auto nearest = static_cast<float>(value);
    if (!std::isfinite(nearest) || static_cast<double>(nearest) == value) return nearest;
    auto bits = std::bit_cast<uint32_t>(nearest);
    if (std::fabs(static_cast<double>(nearest)) > std::fabs(value)) bits -= 1;  // towards zero
    return std::bit_cast<float>(bits | 1);
}

// A float value as an integer, as x86 converts: what does not fit is the smallest Wide.
template <class Wide, class F>
Wide truncate(F value) {
    constexpr F limit = static_cast<F>(std::numeric_limits<Wide>::max() / 2 + 1) * 2;  // 2^31 or 2^63, exact
    const bool fits = value >= -limit && value < limit;
    return fits ? static_cast<Wide>(value) : std::numeric_limits<Wide>::min();
}

template <class To, class F>
To float_to_integer(F value) {
    if constexpr (std::is_same_v<To, uint64_t>) {
        if (value >= static_cast<F>(9223372036854775808.0) && value < static_cast<F>(18446744073709551616.0))
            return static_cast<uint64_t>(value);
        return static_cast<uint64_t>(truncate<int64_t>(value));
    } else if constexpr (sizeof(To) == 8 || std::is_same_v<To, uint32_t>) {
        return static_cast<To>(truncate<int64_t>(value));
    } else {
        return static_cast<To>(truncate<int32_t>(value));
    }
}

// The arithmetic value of an element: itself, or float for the sixteen-bit floats.
template <class T>
auto value_of(T element) {
    if constexpr (std::is_same_v<T, Half>) return half_to_float(element.bits);
    else if constexpr (std::is_same_v<T, Bfloat>) return bfloat_to_float(element.bits);
    else if constexpr (std::is_same_v<T, Bool>) return static_cast<uint8_t>(element.value != 0);
    else return element;
}

template <class To, class Value>
To make(Value value) {
    if constexpr (std::is_same_v<To, Bool>) {
        return {static_cast<uint8_t>(value != Value{0})};
    } else if constexpr (std::is_same_v<To, Half>) {
        if constexpr (std::is_same_v<Value, double>) return {double_to_half(value)};
        else return {float_to_half(static_cast<float>(value))};
    } else if constexpr (std::is_same_v<To, Bfloat>) {
        if constexpr (std::is_same_v<Value, double>) return {float_to_bfloat(round_to_odd(value))};
        else return {float_to_bfloat(static_cast<float>(value))};
    } else if constexpr (std::is_floating_point_v<Value> && std::is_integral_v<To>) {
        return float_to_integer<To>(value);
    } else {
        return static_cast<To>(value);
    }
}

template <DType kFrom, DType kTo>
void convert_run(const void* src, void* dst, size_t count) {
    using From = typename Element<kFrom>::type;
    using To = typename Element<kTo>::type;
    if constexpr (kFrom == kTo && kTo != DType::kBool) {
        if (count != 0) std::memcpy(dst, src, count * sizeof(To));
    } else {
        const auto* in = static_cast<const unsigned char*>(src);
        auto* out = static_cast<To*>(dst);
        for (size_t i = 0; i < count; ++i) {
            From element;
            std::memcpy(&element, in + i * sizeof(From), sizeof(From));
            out[i] = make<To>(value_of(element));
        }
    }
}

using Run = void (*)(const void*, void*, size_t);
constexpr size_t kNumeric = kDTypeCount - 1;  // every row but strings, which is the last
static_assert(static_cast<size_t>(DType::kString) == kNumeric);

template <size_t... kCell>
constexpr std::array<Run, sizeof...(kCell)> table(std::index_sequence<kCell...>) {
    return {&convert_run<static_cast<DType>(kCell / kNumeric), static_cast<DType>(kCell % kNumeric)>...};
}
constexpr auto kRuns = table(std::make_index_sequence<kNumeric * kNumeric>{});

}  // namespace

void convert(DType from, const void* src, DType to, void* dst, size_t count) {
    kRuns[static_cast<size_t>(from) * kNumeric + static_cast<size_t>(to)](src, dst, count);
}

float half_to_float(uint16_t bits) {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t magnitude = bits & 0x7fffu;
    if (magnitude >= 0x7c00u)  // infinity or NaN: the payload keeps its place
        return std::bit_cast<float>(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
    if (magnitude >= 0x400u)  // normal: rebias the exponent from 15 to 127
        return std::bit_cast<float>(sign | ((magnitude << 13) + ((127u - 15u) << 23)));
    const float subnormal = static_cast<float>(magnitude) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(subnormal));
}

uint16_t float_to_half(float value) {
    const auto bits = std::bit_cast<uint32_t>(value);
    const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {  // NaN: keep what fits of the payload, and stay a NaN
        const auto payload = static_cast<uint16_t>((magnitude >> 13) & 0x3ffu);
        return static_cast<uint16_t>(sign | 0x7c00u | (payload != 0 ? payload : 1));
    }
    if (magnitude >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65536 and above
    if (magnitude < 0x38800000u) {  // below 2^-14: adding 0.5 rounds the value to multiples of 2^-24
        const float rounded = std::bit_cast<float>(magnitude) + 0.5f;
        return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(rounded) - std::bit_cast<uint32_t>(0.5f)));
    }
    const uint32_t even = (magnitude >> 13) & 1;
    return static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + even) >> 13));
}

uint16_t double_to_half(double value) { return float_to_half(round_to_odd(value)); }

}  // namespace ovms
