// HTTP/2 on one connection, by nghttp2: streams, flow control, limits. https://www.rfc-editor.org/rfc/rfc9113
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "connection.hpp"
#include "http2_stream.hpp"
#include "session.hpp"

namespace ovms::net {

class Http2Session final : public Session {
public:
    // Makes the objects of the streams.
    class Streams {
    public:
        virtual ~Streams() = default;
        // Null: there is no room for one more.
        virtual std::shared_ptr<Http2Stream> open(Http2Session& session, int32_t id) = 0;
    };

    Http2Session(Connection& connection, Streams& streams);
    ~Http2Session() override;

    void on_bytes(const uint8_t* data, size_t size) override;
    void on_end() override;
    void on_close() override;
    void fill() override;
    size_t awaited() const override {
        const bool comes = receiving_ != nullptr && !receiving_->request_ended_ && !receiving_->answered_;
        return comes ? receiving_->awaited() : 0;
    }
    bool busy() const override { return open_ != 0; }
    void drain() override;
    void tick(uint64_t milliseconds) override;

    Connection& connection() { return connection_; }
    // Whether other calls of this connection are waiting to be run.
    bool more_ready() const { return next_ready_ < ready_.size(); }
    // Sends what was submitted. Not while the session reads or runs calls: it does so itself afterwards.
    void send();

    // Whether a call that is new is one too many: the client was told before to stop.
    bool refuses() const { return said_goodbye_; }

    // Bytes of answers that are ready, for the limit on what one client may leave unread.
    void count_answers(int64_t bytes) { answers_ += bytes; }

private:
    friend class Http2Stream;
    struct Callbacks;
    static const nghttp2_session_callbacks* callbacks();
    // Where nghttp2 gets the body of the stream's answer.
    static nghttp2_data_provider body_of(Http2Stream& stream);

    void run_ready();
    void keep_ready();
    void run_later();
    void end_stream(Http2Stream& stream);
    void forget(Http2Stream& stream);
    bool is_abusive() const;
    void give_up(ssize_t error);
    void end_if_done();

    Connection& connection_;
    Streams& streams_;
    nghttp2_session* session_ = nullptr;
    std::vector<std::shared_ptr<Http2Stream>> ready_;  // whose request is whole, in order of arrival
    size_t next_ready_ = 0;
    Http2Stream* first_ = nullptr;  // of the open streams
    Http2Stream* receiving_ = nullptr;  // of which data came last
    size_t open_ = 0;
    int64_t answers_ = 0;
    int32_t nuisances_ = 0;
    int32_t resets_ = 0;
    uint32_t ticks_ = 0;
    bool reading_ = false;
    bool running_ = false;
    bool runs_later_ = false;  // the loop was asked to
    bool held_back_ = false;   // nothing is read until the client has taken what it was sent
    bool greeted_ = false;     // the client has sent its preface and settings
    bool too_large_ = false;   // headers beyond all measure
    bool failed_ = false;      // there was no memory for what nghttp2 had to be told
    bool said_goodbye_ = false;
    bool ended_ = false;  // the client sends no more, or is not listened to
};

}  // namespace ovms::net
