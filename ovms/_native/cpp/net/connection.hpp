// One client's connection on its I/O thread: bytes in, bytes out, an orderly end. What the bytes mean is its session's.
#pragma once

#include <uv.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gate.hpp"
#include "io_loop.hpp"
#include "low_water.hpp"
#include "session.hpp"
#include "tls.hpp"

namespace ovms::net {

class Port;

class Connection : public std::enable_shared_from_this<Connection> {
public:
    Connection(IoLoop& loop, Port& port);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // Takes over an accepted socket, which the port has counted; closes it if it cannot be used.
    static void adopt(IoLoop& loop, Port& port, int socket, bool is_unix);

    IoLoop& loop() { return loop_; }
    Port& port() { return port_; }
    const Port& port() const { return port_; }
    bool closed() const { return closed_; }
    bool closing() const { return closing_ || closed_; }
    // The client's address; empty on a Unix socket.
    std::string peer() const;
    Visitor& visitor() { return visitor_; }

    // To be sent: copied, or as it stands, which holder keeps alive. Nothing is sent before flush.
    void add(std::string_view bytes) { out_.append(bytes); }
    void add(const uint8_t* data, size_t size, std::shared_ptr<const void> holder) { out_.append(data, size, std::move(holder)); }
    // How many bytes wait to be given to the system.
    size_t unsent() const { return out_.size - sealed_ + wire_.size; }
    // Whether the client has yet to take what the system was given.
    bool sending() const { return sending_; }
    // Sends what was added, and what the session then adds, as far as the client takes it.
    void flush();

    // With true, what the client sends stays in the system until false.
    void pause_reading(bool pause);

    // Closes at once; what was not sent is lost.
    void close();

    // Runs something that is done for this connection, whose callers take no exceptions: if there is no memory for it, the
    // connection is closed.
    template <class Do>
    void attempt(Do act) noexcept {
        const std::shared_ptr<Connection> alive = shared_from_this();
        try {
            act();
        } catch (const std::exception&) {
            close();
        }
    }
    // Closes once everything was sent. linger: a client that still sends what nobody will read gets the time to see the
    // answer first; otherwise the system would reset the connection, and the answer with it.
    void close_when_sent(bool linger);

    // The port takes no more calls.
    void drain();
    // Whether nothing is under way: no call, and nothing to send.
    bool idle() const { return !sending_ && unsent() == 0 && (session_ == nullptr || !session_->busy()); }

    // Whether all is said, and the client has yet to close its side.
    bool lingers() const { return lingering_ && !closed_; }
    // How many bytes of what was sent have not arrived at the client's machine.
    size_t untaken() const;

    // Whether its client has got any answer so far.
    bool answered_any() const { return session_ != nullptr && session_->answered_any(); }

    // Once a second.
    void tick();
    // Each millisecond while it is watched: whether more of a large message has come, for which it is watched on. If not, the
    // low-water mark is taken down.
    bool stays_watched();

private:
    // Bytes in the order in which they are to be sent.
    struct Output {
        struct Piece {
            const uint8_t* data;  // null: in text
            size_t begin;         // place in text
            size_t size;
            std::shared_ptr<const void> holder;
        };
        std::vector<Piece> pieces;
        std::vector<uint8_t> text;
        size_t size = 0;

        bool empty() const { return size == 0; }
        void append(std::string_view bytes);
        void append(const uint8_t* data, size_t size, std::shared_ptr<const void> holder);
        void buffers(std::vector<uv_buf_t>& out, size_t skip) const;
        void clear();
        // Makes all of text one piece.
        void join_text();
    };

    void on_read(ssize_t size, const uv_buf_t* buffer);
    void expect_more(size_t size);
    void on_bytes(const uint8_t* data, size_t size);
    void on_wire(const uint8_t* data, size_t size);
    void take(const uint8_t* data, size_t size);
    void on_end();
    void seal();
    void send_rest(Output& out, size_t sent);
    void end_output();
    void linger_on();
    uint64_t now() { return uv_now(loop_.uv()); }
    uv_stream_t* stream() { return reinterpret_cast<uv_stream_t*>(&handle_); }
    const uv_stream_t* stream() const { return reinterpret_cast<const uv_stream_t*>(&handle_); }

    IoLoop& loop_;
    Port& port_;
    Visitor visitor_;
    union {
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } handle_{};
    std::shared_ptr<Connection> self_;  // until the handle is closed
    std::unique_ptr<Session> session_;  // from the first bytes on
    std::vector<uint8_t> first_;        // bytes that do not yet say which protocol it is
    std::unique_ptr<TlsChannel> tls_;   // null: bytes go as they are
    Output out_;                        // not yet given to the system, nor to TLS, but for its first sealed_ bytes
    size_t sealed_ = 0;
    Output wire_;                       // with TLS: what it made of them
    Output in_system_;                  // what the system could not take at once, and reads while sending_
    std::vector<uv_buf_t> buffers_;
    uv_write_t write_{};
    uv_shutdown_t shutdown_{};
    LowWater low_water_;
    bool watched_ = false;  // by the loop
    bool fed_ = false;      // since it last looked
    std::string tls_peer_;  // with TLS: who it was, for when it has gone
    uint64_t opened_ = 0;
    uint64_t last_heard_ = 0;  // milliseconds of the loop's clock
    uint64_t last_taken_ = 0;  // when the client last took something of in_system_
    uint64_t linger_since_ = 0;
    uint64_t sent_at_ = 0;     // when in_system_ was given to the system; with TLS the first of whole_
    size_t whole_ = 0;         // with TLS: bytes of which in_system_ is a part
    size_t lingered_ = 0;  // bytes that came after the end
    size_t queued_ = 0;        // as last seen: of in_system_, then of what the client's machine has yet to take
    bool sending_ = false;
    bool closed_ = false;
    bool reading_ = false;
    bool closing_ = false;  // when everything was sent
    bool linger_ = false;
    bool lingering_ = false;  // what comes in is thrown away
};

}  // namespace ovms::net
