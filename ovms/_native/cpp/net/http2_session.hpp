// HTTP/2 on one connection, by nghttp2: streams, flow control, limits. https://www.rfc-editor.org/rfc/rfc9113
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <vector>

#include "connection.hpp"
#include "session.hpp"

namespace ovms::net {

class Http2Session;

// One request and its answer. Lives until its stream is closed and nobody works for it any more.
class Http2Stream : public std::enable_shared_from_this<Http2Stream> {
public:
    Http2Stream(Http2Session& session, int32_t id);
    virtual ~Http2Stream() = default;

    virtual void on_header(std::string_view name, std::string_view value) = 0;
    virtual void on_headers_end() = 0;
    virtual void on_data(const uint8_t* data, size_t size) = 0;
    // All of the request is there: the session calls run once it has read what came with it.
    virtual void run() = 0;
    // The stream is closed, answered or not.
    virtual void on_close() = 0;
    // How many bytes of the request are still to come; 0: unknown. Not once it has ended: another thread may work on it.
    virtual size_t awaited() const { return 0; }
    // Whether a client whose request was answered early is told to stop; else the rest comes, for nothing.
    virtual bool stops_sender() const { return true; }

    // Whether its client has gone.
    bool gone() const { return closed_; }

protected:
    friend class Http2Session;

    struct Field {
        std::string_view name;
        std::string_view value;
    };
    // Answers with headers, once, on the loop's thread; send has them leave. last: the answer has nothing else.
    void submit(std::initializer_list<Field> fields, bool last);
    void submit(const Field* fields, size_t count, bool last);
    // Ends the answer with trailers, at most eight; from produce only.
    void submit_trailers(std::initializer_list<Field> fields);

    // What the answer's body has next: up to most bytes of a piece that stays as it is until the stream is freed. size 0:
    // nothing yet (resume tells when), or with last nothing more. trailers: more headers follow, which produce submitted.
    struct Chunk {
        const uint8_t* data = nullptr;
        size_t size = 0;
        bool last = false;
        bool trailers = false;
    };
    virtual Chunk produce(size_t most) = 0;
    // produce has more to give.
    void resume();
    // What was submitted leaves: now, or after the session has read and run all there is.
    void send();
    // Ends the stream without an answer.
    void reset();

    // Too many bytes of headers: not all of them were told.
    bool headers_too_large() const;
    bool request_ended() const { return request_ended_; }
    // In ticks; 0 before the request has ended.
    uint64_t request_ended_at() const { return request_ended_at_; }
    bool answered() const { return answered_; }

    std::shared_ptr<Connection> connection_;
    Http2Session& session_;  // of the connection
    const int32_t id_;

private:
    std::shared_ptr<Http2Stream> self_;  // until the stream is closed
    Http2Stream* next_ = nullptr;        // in the session's list of open streams
    Http2Stream* previous_ = nullptr;
    Chunk chunk_;                        // that nghttp2 sends now
    size_t header_bytes_ = 0;
    uint64_t request_ended_at_ = 0;
    uint32_t moved_ = 0;  // when some of the request came or of the answer left, in the session's ticks
    bool waits_ = false;  // the answer's body has nothing to send yet
    bool request_ended_ = false;
    bool answered_ = false;  // headers are submitted
    bool closed_ = false;
};

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
