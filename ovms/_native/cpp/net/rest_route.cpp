#include "rest_route.hpp"

#include <algorithm>

#include "../utf8.hpp"
#include "rest_text.hpp"

namespace ovms::net {
namespace {

using namespace std::string_view_literals;

constexpr size_t kMostDigits = 400;   // of a version, zeros in front
constexpr size_t kShownDigits = 64;
constexpr int64_t kLargestVersion = INT64_MAX;

bool take(std::string_view& text, std::string_view lower_case) {
    if (text.size() < lower_case.size() || !same_name(text.substr(0, lower_case.size()), lower_case)) return false;
    text.remove_prefix(lower_case.size());
    return true;
}

std::string_view take_name(std::string_view& text) {
    const size_t size = std::min(text.find_first_of("/:"sv), text.size());
    const std::string_view name = text.substr(0, size);
    text.remove_prefix(size);
    return name;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    const char small = lower(c);
    return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

// The text itself, or what it stands for, which is kept in room. False if that is not UTF-8.
bool decode(std::string_view text, std::string& room, std::string_view& out) {
    out = text;
    if (text.find('%') != std::string_view::npos) {
        room.clear();
        for (size_t i = 0; i < text.size(); ++i) {
            const bool whole = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0;
            if (!whole) {
                room += text[i];
                continue;
            }
            room += static_cast<char>(hex_digit(text[i + 1]) << 4 | hex_digit(text[i + 2]));
            i += 2;
        }
        out = room;
    }
    return is_utf8(out);
}

bool ends_with(std::string_view text, std::string_view lower_case) {
    return text.size() > lower_case.size() && same_name(text.substr(text.size() - lower_case.size()), lower_case);
}

// The status page, and what it is made of; its data is none of that.
bool is_status_page(std::string_view path) {
    if (path == "/"sv) return true;
    return take(path, "/status/"sv) && path.find('/') == path.npos && (ends_with(path, ".js"sv) || ends_with(path, ".css"sv));
}

bool parse_version(std::string_view digits, int64_t& out) {
    if (digits.size() > kMostDigits) return false;
    out = 0;
    for (const char c : digits) {
        const int digit = c - '0';
        if (out > (kLargestVersion - digit) / 10) return false;
        out = out * 10 + digit;
    }
    return true;
}

}  // namespace

bool find_predict_route(std::string_view target, PredictRoute& out) {
    std::string_view rest = target.substr(0, target.find('?'));
    if (!take(rest, "/v1/models/"sv)) return false;
    const std::string_view name = take_name(rest);
    if (name.empty()) return false;
    std::string_view digits;
    std::string_view label;
    if (take(rest, "/versions/"sv)) {
        digits = take_name(rest);
        if (digits.empty() || digits.find_first_not_of("0123456789"sv) != std::string_view::npos) return false;
    } else if (take(rest, "/labels/"sv)) {
        label = take_name(rest);
        if (label.empty()) return false;
    }
    if (!take(rest, ":predict"sv) || !rest.empty()) return false;

    out.key = {};
    out.trouble.clear();
    out.key.has_label = !label.empty();
    if (!parse_version(digits, out.key.version))
        out.trouble = std::string(digits.substr(0, kShownDigits)) + " is not a version: expected at most " + std::to_string(kLargestVersion);
    else if (!decode(name, out.name, out.key.name) || !decode(label, out.label, out.key.label))
        out.trouble = "a name in the path is not UTF-8";
    return true;
}

Scope scope_of(std::string_view target) {
    const std::string_view path = target.substr(0, target.find('?'));
    if (same_name(path, "/v1/config/reload"sv)) return Scope::kAdmin;
    if (same_name(path, "/metrics"sv) || same_name(path, "/status/figures"sv)) return Scope::kMetrics;
    if (same_name(path, "/v2/health/live"sv) || same_name(path, "/v2/health/ready"sv)) return Scope::kOpen;
    if (is_status_page(path)) return Scope::kAnyKey;
    std::string_view rest = path;
    return take(rest, "/v2/models/"sv) && ends_with(rest, "/ready"sv) ? Scope::kOpen : Scope::kPredict;
}

}  // namespace ovms::net
