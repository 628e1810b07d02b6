// gRPC's own texts in HTTP/2 headers. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "../deadline.hpp"

namespace ovms::net {

// The time of a grpc-timeout header ("100m"); false if it is none. More than a century is a century.
bool parse_grpc_timeout(std::string_view text, std::chrono::nanoseconds& out);

// A message as a grpc-message header has it: cut to 1024 bytes, all but printable ASCII as %XX.
std::string grpc_message(std::string_view text);

}  // namespace ovms::net
