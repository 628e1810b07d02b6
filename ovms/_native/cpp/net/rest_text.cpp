#include "rest_text.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <ctime>

#include "../utf8.hpp"

namespace ovms::net {
namespace {

using namespace std::string_view_literals;

constexpr size_t kMostDigits = 9;

// The character that begins at p, which is moved behind it; of what is no UTF-8, U+FFFD.
uint32_t next_character(const char*& p, const char* end) {
    const auto lead = static_cast<uint8_t>(*p);
    const size_t size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (static_cast<size_t>(end - p) < size || !is_utf8({p, size})) {
        ++p;
        return 0xfffd;
    }
    uint32_t character = size == 1 ? lead : lead & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; ++i) character = character << 6 | (static_cast<uint8_t>(p[i]) & 0x3f);
    p += size;
    return character;
}

void append_unit(std::string& out, uint32_t unit) {
    constexpr std::string_view kHex = "0123456789abcdef";
    out += "\\u"sv;
    for (int shift = 12; shift >= 0; shift -= 4) out += kHex[unit >> shift & 15];
}

// Thousandths of a q=, as RFC 9110 writes them; 1000 for all else.
int quality_of(std::string_view parameter) {
    std::string text;
    for (const char c : parameter)
        if (c != ' ') text += c;
    if (text.size() < 3 || text.size() > 7 || !text.starts_with("q="sv) || (text[2] != '0' && text[2] != '1')) return 1000;
    int quality = (text[2] - '0') * 1000;
    if (text.size() == 3) return quality;
    if (text[3] != '.') return 1000;
    int worth = 100;
    for (const char c : text.substr(4)) {
        if (c < '0' || c > '9') return 1000;
        quality += (c - '0') * worth;
        worth /= 10;
    }
    return quality;
}

}  // namespace

int http_status(Code code) {
    switch (code) {
        case Code::kOk: return 200;
        case Code::kCancelled: return 499;
        case Code::kInvalidArgument:
        case Code::kFailedPrecondition: return 400;
        case Code::kDeadlineExceeded: return 504;
        case Code::kNotFound: return 404;
        case Code::kAlreadyExists: return 409;
        case Code::kResourceExhausted: return 429;
        case Code::kUnavailable: return 503;
        case Code::kInternal:
        case Code::kPostponed: break;
    }
    return 500;
}

int code_of(int status) {
    constexpr int kUnknown = 2;
    constexpr int kPermissionDenied = 7;
    constexpr int kUnimplemented = 12;
    constexpr int kUnauthenticated = 16;
    switch (status) {
        case 401: return kUnauthenticated;
        case 403: return kPermissionDenied;
        case 404: return static_cast<int>(Code::kNotFound);
        case 405:
        case 501: return kUnimplemented;
        case 408:
        case 504: return static_cast<int>(Code::kDeadlineExceeded);
        case 409: return static_cast<int>(Code::kAlreadyExists);
        case 429: return static_cast<int>(Code::kResourceExhausted);
        case 499: return static_cast<int>(Code::kCancelled);
        case 500: return static_cast<int>(Code::kInternal);
        case 503: return static_cast<int>(Code::kUnavailable);
        default: return status < 400 ? 0 : status < 500 ? static_cast<int>(Code::kInvalidArgument) : kUnknown;
    }
}

std::string_view reason_of(int status) {
    switch (status) {
        case 200: return "OK"sv;
        case 201: return "Created"sv;
        case 204: return "No Content"sv;
        case 304: return "Not Modified"sv;
        case 400: return "Bad Request"sv;
        case 401: return "Unauthorized"sv;
        case 403: return "Forbidden"sv;
        case 404: return "Not Found"sv;
        case 405: return "Method Not Allowed"sv;
        case 408: return "Request Timeout"sv;
        case 409: return "Conflict"sv;
        case 413: return "Content Too Large"sv;
        case 414: return "URI Too Long"sv;
        case 415: return "Unsupported Media Type"sv;
        case 417: return "Expectation Failed"sv;
        case 429: return "Too Many Requests"sv;
        case 431: return "Request Header Fields Too Large"sv;
        case 499: return "Client Closed Request"sv;
        case 500: return "Internal Server Error"sv;
        case 501: return "Not Implemented"sv;
        case 503: return "Service Unavailable"sv;
        case 504: return "Gateway Timeout"sv;
        case 505: return "HTTP Version Not Supported"sv;
        default: return "Unknown"sv;
    }
}

std::string error_body(std::string_view message) {
    std::string out = "{\"error\": \"";
    const char* p = message.data();
    const char* const end = p + message.size();
    while (p != end) {
        const uint32_t character = next_character(p, end);
        switch (character) {
            case '"': out += "\\\""sv; break;
            case '\\': out += "\\\\"sv; break;
            case '\n': out += "\\n"sv; break;
            case '\r': out += "\\r"sv; break;
            case '\t': out += "\\t"sv; break;
            case '\b': out += "\\b"sv; break;
            case '\f': out += "\\f"sv; break;
            default:
                if (character >= ' ' && character <= '~') {
                    out += static_cast<char>(character);
                } else if (character < 0x10000) {
                    append_unit(out, character);
                } else {
                    append_unit(out, 0xd800 + ((character - 0x10000) >> 10));
                    append_unit(out, 0xdc00 + ((character - 0x10000) & 0x3ff));
                }
        }
    }
    return out += "\"}"sv;
}

std::string_view http_date() {
    thread_local std::time_t second = -1;
    thread_local std::array<char, 40> text{};
    thread_local size_t size = 0;
    if (const std::time_t now = std::time(nullptr); now != second) {
        second = now;
        std::tm parts{};
        gmtime_r(&now, &parts);
        size = std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    }
    return {text.data(), size};
}

bool parse_seconds(std::string_view text, std::chrono::nanoseconds& out) {
    const size_t point = std::min(text.find('.'), text.size());
    const std::string_view whole = text.substr(0, point);
    const std::string_view fraction = text.substr(std::min(point + 1, text.size()));
    if (whole.empty() || whole.size() > kMostDigits || fraction.size() > kMostDigits) return false;
    int64_t value = 0;
    for (const char c : whole) {
        if (c < '0' || c > '9') return false;
        value = value * 10 + (c - '0');
    }
    for (size_t i = 0; i < kMostDigits; ++i) {
        const char c = i < fraction.size() ? fraction[i] : '0';
        if (c < '0' || c > '9') return false;
        value = value * 10 + (c - '0');
    }
    out = std::chrono::nanoseconds(value);
    return true;
}

bool parse_packing(std::string_view text, Packing& out) {
    const std::string_view name = trimmed(text);
    if (name.empty() || same_name(name, "identity"sv)) out = Packing::kNone;
    else if (same_name(name, "gzip"sv) || same_name(name, "x-gzip"sv)) out = Packing::kGzip;
    else if (same_name(name, "deflate"sv)) out = Packing::kDeflate;
    else return false;
    return true;
}

Packing answer_packing(std::string_view text) {
    const std::string all = lowered(text);
    int gzip = 0;
    int deflate = 0;
    for (size_t begin = 0; begin <= all.size();) {
        const size_t end = std::min(all.find(',', begin), all.size());
        const std::string_view part = std::string_view(all).substr(begin, end - begin);
        const size_t parameter = std::min(part.find(';'), part.size());
        const std::string_view coding = trimmed(part.substr(0, parameter));
        const int quality = quality_of(part.substr(std::min(parameter + 1, part.size())));
        if (coding == "gzip"sv || coding == "x-gzip"sv) gzip = quality;
        else if (coding == "deflate"sv) deflate = quality;
        begin = end + 1;
    }
    if (gzip == 0 && deflate == 0) return Packing::kNone;
    return gzip >= deflate ? Packing::kGzip : Packing::kDeflate;
}

std::string_view name_of(Packing packing) {
    return packing == Packing::kGzip ? "gzip"sv : packing == Packing::kDeflate ? "deflate"sv : "identity"sv;
}

std::string_view trouble_with(std::string_view method, std::string_view target) {
    for (const char c : method)
        if (c >= 'a' && c <= 'z') return "a method in small letters"sv;
    // What names another host, or is meant for a proxy, is none of this server's paths.
    if (method == "OPTIONS"sv && target == "*"sv) return {};
    if (!target.starts_with('/') || target.starts_with("//"sv)) return "the target is not a path"sv;
    if (target.find('#') != std::string_view::npos) return "the target has a fragment"sv;
    return {};
}

bool same_name(std::string_view text, std::string_view lower_case) {
    return text.size() == lower_case.size() &&
           std::equal(text.begin(), text.end(), lower_case.begin(), [](char a, char b) { return lower(a) == b; });
}

std::string lowered(std::string_view text) {
    std::string out(text);
    for (char& c : out) c = lower(c);
    return out;
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

}  // namespace ovms::net
