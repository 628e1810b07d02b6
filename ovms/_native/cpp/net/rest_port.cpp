#include "rest_port.hpp"

#include "http1_session.hpp"
#include "rest_stream.hpp"

namespace ovms::net {
namespace {

using namespace std::string_view_literals;

constexpr auto kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"sv;

}  // namespace

std::unique_ptr<Session> RestPort::open_session(Connection& connection, std::string_view first) {
    if (first.starts_with(kPreface)) return std::make_unique<Http2Session>(connection, *this);
    if (kPreface.starts_with(first)) return nullptr;
    return std::make_unique<Http1Session>(connection, *this);
}

std::shared_ptr<Http2Stream> RestPort::open(Http2Session& session, int32_t id) {
    auto stream = std::make_shared<RestStream>(session, id, *this);
    return stream->hold() ? stream : nullptr;
}

uint64_t RestPort::time_to_take(size_t bytes) const {
    return static_cast<uint64_t>(1000 * (settings.read_seconds + static_cast<double>(bytes) / kMebibyte));
}

}  // namespace ovms::net
