// One request of HTTP/2 and its answer, on a connection that has others. https://www.rfc-editor.org/rfc/rfc9113
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string_view>

#include "connection.hpp"

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

}  // namespace ovms::net
