#include "gate.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include <openssl/crypto.h>

#include "../base64.hpp"
#include "call_port.hpp"
#include "connection.hpp"

namespace ovms::net {
namespace {

using namespace std::string_view_literals;

constexpr auto kWanted = "expected a valid API key, as 'authorization: Bearer KEY' or 'x-api-key: KEY'"sv;
constexpr auto kNotAllowed = "the API key does not allow this call"sv;
constexpr int kPermissionDenied = 7;
constexpr int kResourceExhausted = 8;
constexpr int kUnauthenticated = 16;

bool same(std::string_view text, std::string_view lower_case) {
    return text.size() == lower_case.size() && std::equal(text.begin(), text.end(), lower_case.begin(), [](char a, char b) {
        return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + ('a' - 'A')) : a) == b;
    });
}

// What stands behind the scheme of an authorization header; nothing if it is of another scheme.
std::optional<std::string_view> credentials_of(std::string_view value, std::string_view scheme) {
    if (value.size() <= scheme.size() || value[scheme.size()] != ' ' || !same(value.substr(0, scheme.size()), scheme)) return {};
    value.remove_prefix(scheme.size());
    value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
    return value;
}

std::string too_often(double per_second) {
    char text[96];
    std::snprintf(text, sizeof text, "more than %g requests per second; try again later", per_second);
    return text;
}

}  // namespace

Gate::Gate(const GateSettings& settings)
    : keys_(settings.keys),
      rate_(settings.requests_per_second),
      addresses_(settings.keys ? Rate(0) : rate_),
      too_often_(too_often(settings.requests_per_second)) {}

void Gate::on_header(Presented& presented, Connection& connection, std::string_view name, std::string_view value) const {
    if (!keys_) return;
    if (same(name, "authorization"sv)) {
        const std::optional<std::string_view> key = credentials_of(value, "bearer"sv);
        if (!key) {
            const std::optional<std::string_view> password = credentials_of(value, "basic"sv);
            if (password && presented.takes_password) on_password(presented, connection, *password);
            return;
        }
        value = *key;
    } else if (!same(name, "x-api-key"sv)) {
        return;
    }
    if (++presented.count == 1) {
        presented.key = connection.visitor().last_key.find(connection.loop().keys(), value);
        return;
    }
    presented.count = 2;  // a third one is not looked at either
    presented.key = nullptr;
}

// RFC 7617: name and password with a colon between, in Base64. The name may be any: keys have their own.
void Gate::on_password(Presented& presented, Connection& connection, std::string_view credentials) const {
    constexpr size_t kLongestCredentials = 4 * KeySet::kLongest;
    if (presented.count != 0) return;
    const bool again = std::exchange(presented.has_password, true);
    presented.key = nullptr;
    std::string text;
    if (!again && credentials.size() <= kLongestCredentials && decode_base64(credentials, text)) {
        const std::string_view decoded = text;
        const size_t colon = decoded.find(':');
        if (colon != decoded.npos) presented.key = connection.visitor().last_key.find(connection.loop().keys(), decoded.substr(colon + 1));
    }
    OPENSSL_cleanse(text.data(), text.size());
}

Refused Gate::decide(const Presented& presented, Connection& connection, Scope scope) {
    if (keys_) {
        if (presented.count == 0 && !presented.has_password) return Refused::kNoKey;
        if (presented.key == nullptr) return Refused::kWrongKey;
        if (!presented.key->allows(scope)) return Refused::kScope;
        if (scope == Scope::kAnyKey) return Refused::kNot;  // a page is of many files
        return rate_.limits() && !rate_.take(*presented.key->due, rate_clock()) ? Refused::kRate : Refused::kNot;
    }
    if (scope == Scope::kAnyKey || !rate_.limits()) return Refused::kNot;
    std::optional<uint64_t>& place = connection.visitor().place;
    if (!place) place = addresses_.place(connection.peer());
    return addresses_.take(*place, rate_clock()) ? Refused::kNot : Refused::kRate;
}

Refused Gate::judge(const Presented& presented, CallPort& port, Connection& connection, Scope scope) {
    if (scope == Scope::kOpen) return Refused::kNot;
    const Refused why = decide(presented, connection, scope);
    uint64_t unsaid = 0;
    if (why != Refused::kNot && port.refusals.count(why, unsaid))
        port.cold.push({nullptr, false, refusal_line(port.name(), connection.peer(), why, unsaid)});
    return why;
}

Gate::Answer Gate::answer(Refused why) const {
    switch (why) {
        case Refused::kScope: return {kPermissionDenied, 403, kNotAllowed};
        case Refused::kRate: return {kResourceExhausted, 429, too_often_};
        default: return {kUnauthenticated, 401, kWanted};
    }
}

}  // namespace ovms::net
