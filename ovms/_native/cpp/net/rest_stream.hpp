// One request of REST over HTTP/2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "answer.hpp"
#include "held_bytes.hpp"
#include "http2_session.hpp"
#include "rest_call.hpp"
#include "rest_port.hpp"

namespace ovms::net {

class RestStream final : public Http2Stream, public RestCall::Client {
public:
    RestStream(Http2Session& session, int32_t id, RestPort& port)
        : Http2Stream(session, id), call_(std::make_shared<RestCall>(port, session.connection())) {}

    // False: there is no room for one more.
    bool hold() { return held_.grow(kBytes); }

    void on_header(std::string_view name, std::string_view value) override;
    void on_headers_end() override;
    void on_data(const uint8_t* data, size_t size) override;
    void run() override;
    void on_close() override;
    size_t awaited() const override { return wanted_ ? call_->awaited() : 0; }
    // Clients such as curl 7.88 take that for a failure, and lose the answer.
    bool stops_sender() const override { return !length_ || *length_ > kMostSkipped; }

    void respond(RestAnswer& answer) override;
    std::string peer() override { return connection_->peer(); }
    std::string_view protocol() const override { return "HTTP/2.0"; }

private:
    static constexpr uint64_t kMostSkipped = 16 << 20;
    static constexpr size_t kBytes = 4096;  // what a request takes besides its body, nghttp2's part included

    Chunk produce(size_t most) override;
    void begin();

    HeldBytes held_;
    std::shared_ptr<RestCall> call_;
    std::string method_;
    std::string target_;
    std::string authority_;
    std::optional<uint64_t> length_;
    bool begun_ = false;
    bool wanted_ = false;  // the body goes to the call
    Answer content_;
    size_t sent_ = 0;
    int64_t counted_ = 0;
};

}  // namespace ovms::net
