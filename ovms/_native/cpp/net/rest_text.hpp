// REST's own texts: statuses, errors, dates, and the headers that say how to pack and how long to wait.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "../status.hpp"
#include "packing.hpp"

namespace ovms::net {

// TensorFlow Serving's table. ovms/frontends/status.py has the same.
int http_status(Code code);

// The code of google.rpc.Code that comes nearest to a status.
int code_of(int status);

std::string_view reason_of(int status);

// It has no content; a length of it would be that of a 200's (RFC 9110, section 8.6).
constexpr int kNotModified = 304;

// {"error": "<message>"} in ASCII.
std::string error_body(std::string_view message);

// Now, as a Date header has it. The view holds until this thread asks again.
std::string_view http_date();

// A number of seconds such as 1.5: at most nine digits on either side of the point. False if it is none.
bool parse_seconds(std::string_view text, std::chrono::nanoseconds& out);

// What a Content-Encoding header says of a body; false if it is not one of those that can be unpacked.
bool parse_packing(std::string_view text, Packing& out);
// The one of gzip and deflate that an Accept-Encoding header names and likes best, gzip if both are as good.
Packing answer_packing(std::string_view text);
std::string_view name_of(Packing packing);

// Why no request can have this method and target; empty if it can.
std::string_view trouble_with(std::string_view method, std::string_view target);

// ASCII only, as HTTP's names are compared.
constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }
bool same_name(std::string_view text, std::string_view lower_case);
std::string lowered(std::string_view text);
std::string_view trimmed(std::string_view text);

}  // namespace ovms::net
