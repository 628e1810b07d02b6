#include "grpc_text.hpp"

#include <algorithm>
#include <cstdint>

#include "../utf8.hpp"

namespace ovms::net {
namespace {

constexpr size_t kLongestMessage = 1024;  // headers are limited, and every byte outside ASCII takes three there
constexpr size_t kMostDigits = 8;
constexpr int64_t kCentury = int64_t{3'155'760'000} * 1'000'000'000;

int64_t unit_nanoseconds(char unit) {
    switch (unit) {
        case 'H': return int64_t{3600} * 1'000'000'000;
        case 'M': return int64_t{60} * 1'000'000'000;
        case 'S': return 1'000'000'000;
        case 'm': return 1'000'000;
        case 'u': return 1'000;
        case 'n': return 1;
        default: return 0;
    }
}

}  // namespace

bool parse_grpc_timeout(std::string_view text, std::chrono::nanoseconds& out) {
    if (text.size() < 2 || text.size() > kMostDigits + 1) return false;
    int64_t value = 0;
    for (const char c : text.substr(0, text.size() - 1)) {
        if (c < '0' || c > '9') return false;
        value = value * 10 + (c - '0');
    }
    const int64_t unit = unit_nanoseconds(text.back());
    if (unit == 0) return false;
    out = std::chrono::nanoseconds(value > kCentury / unit ? kCentury : value * unit);
    return true;
}

std::string grpc_message(std::string_view text) {
    const std::string_view kept = cut_utf8(text, kLongestMessage);
    std::string out;
    out.reserve(kept.size() + 16);
    for (const char c : kept) {
        if (c >= ' ' && c <= '~' && c != '%') {
            out += c;
            continue;
        }
        constexpr std::string_view kHex = "0123456789ABCDEF";
        const auto byte = static_cast<uint8_t>(c);
        out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
    if (kept.size() < text.size()) out += "...TRUNCATED";
    return out;
}

}  // namespace ovms::net
