#include "connection.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "port.hpp"

namespace ovms::net {
namespace {

constexpr size_t kMostBuffers = 512;       // of one write; the system takes 1024
constexpr size_t kKeptText = 64 << 10;     // of memory for small pieces, from one write to the next
constexpr uint64_t kLinger = 2'000;        // milliseconds since a client last took something of the end
constexpr uint64_t kHandshake = 10'000;    // milliseconds that a client has to agree on TLS
constexpr size_t kRecord = 16 << 10;       // bytes, the most that TLS has in one
constexpr size_t kMostSealed = 256 << 10;  // bytes that TLS has ready at a time
constexpr size_t kMostLingered = 64 << 20;  // bytes that are thrown away
constexpr uint64_t kUntaken = 30'000;      // so long a client may take nothing of what is sent to it
constexpr int kVanished = 60;              // seconds of silence after which the system asks whether the client is there
constexpr int kAsked = 10;                 // seconds between such questions; the third without an answer ends the connection

// A client whose machine or network has gone says no goodbye.
void watch_for_silence(int socket) {
    const auto set = [&](int level, int name, int value) { ::setsockopt(socket, level, name, &value, sizeof value); };
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, kVanished);
    set(IPPROTO_TCP, TCP_KEEPINTVL, kAsked);
    set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

}  // namespace

void Connection::Output::append(std::string_view bytes) {
    if (pieces.empty() || pieces.back().data != nullptr) pieces.push_back({nullptr, text.size(), 0, nullptr});
    text.insert(text.end(), bytes.begin(), bytes.end());
    pieces.back().size += bytes.size();
    size += bytes.size();
}

void Connection::Output::append(const uint8_t* data, size_t bytes, std::shared_ptr<const void> holder) {
    pieces.push_back({data, 0, bytes, std::move(holder)});
    size += bytes;
}

void Connection::Output::buffers(std::vector<uv_buf_t>& out, size_t skip) const {
    out.clear();
    for (const Piece& piece : pieces) {
        if (skip >= piece.size) {
            skip -= piece.size;
            continue;
        }
        const uint8_t* const data = (piece.data == nullptr ? text.data() + piece.begin : piece.data) + skip;
        // libuv reads only, but has one type for both.
        out.push_back({const_cast<char*>(reinterpret_cast<const char*>(data)), piece.size - skip});
        skip = 0;
    }
}

void Connection::Output::clear() {
    pieces.clear();
    text.clear();
    if (text.capacity() > kKeptText) text.shrink_to_fit();
    size = 0;
}

void Connection::Output::join_text() {
    pieces.clear();
    if (!text.empty()) pieces.push_back({nullptr, 0, text.size(), nullptr});
    size = text.size();
}

Connection::Connection(IoLoop& loop, Port& port) : loop_(loop), port_(port) {}

Connection::~Connection() = default;

void Connection::adopt(IoLoop& loop, Port& port, int socket, bool is_unix) {
    std::shared_ptr<Connection> connection;
    try {
        connection = std::make_shared<Connection>(loop, port);
        // A Unix socket has the file system's permissions, and nobody who could listen in.
        if (auto tls = is_unix ? nullptr : port.tls(); tls != nullptr) connection->tls_ = std::make_unique<TlsChannel>(std::move(tls));
        loop.add(connection.get());
    } catch (const std::bad_alloc&) {
        port.count_connections(-1);
        ::close(socket);
        return;
    }
    Connection& self = *connection;
    const int failed = is_unix ? uv_pipe_init(loop.uv(), &self.handle_.pipe, 0) : uv_tcp_init(loop.uv(), &self.handle_.tcp);
    if (failed != 0) {
        loop.remove(&self);
        port.count_connections(-1);
        ::close(socket);
        return;
    }
    self.stream()->data = &self;
    self.self_ = connection;
    self.opened_ = self.last_heard_ = self.now();
    if ((is_unix ? uv_pipe_open(&self.handle_.pipe, socket) : uv_tcp_open(&self.handle_.tcp, socket)) != 0) {
        ::close(socket);
        self.close();
        return;
    }
    if (!is_unix) {
        uv_tcp_nodelay(&self.handle_.tcp, 1);  // answers are written whole: nothing is gained by waiting for more
        watch_for_silence(socket);
    }
    if (self.tls_ != nullptr) self.tls_peer_ = self.peer();
    self.pause_reading(false);
}

std::string Connection::peer() const {
    sockaddr_storage address{};
    int size = sizeof address;
    char text[INET6_ADDRSTRLEN] = "";
    if (handle_.tcp.type != UV_TCP || uv_tcp_getpeername(&handle_.tcp, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
    if (address.ss_family == AF_INET) uv_ip4_name(reinterpret_cast<const sockaddr_in*>(&address), text, sizeof text);
    if (address.ss_family == AF_INET6) uv_ip6_name(reinterpret_cast<const sockaddr_in6*>(&address), text, sizeof text);
    // An IPv4 client of a socket for both is known by its own address.
    const std::string_view shown(text);
    return std::string(shown.starts_with("::ffff:") && shown.find('.') != shown.npos ? shown.substr(7) : shown);
}

void Connection::pause_reading(bool pause) {
    if (closed_ || reading_ != pause) return;
    reading_ = !pause;
    if (pause) {
        uv_read_stop(stream());
        return;
    }
    uv_read_start(
        stream(),
        [](uv_handle_t* handle, size_t, uv_buf_t* buffer) {
            auto* const self = static_cast<Connection*>(handle->data);
            *buffer = {reinterpret_cast<char*>(self->loop_.read_buffer()), IoLoop::kReadSize};
        },
        [](uv_stream_t* handle, ssize_t size, const uv_buf_t* buffer) {
            auto* const self = static_cast<Connection*>(handle->data);
            self->attempt([&] { self->on_read(size, buffer); });
        });
}

void Connection::on_read(ssize_t size, const uv_buf_t* buffer) {
    if (size == 0) return;
    if (size > 0) {
        loop_.heard();
        last_heard_ = now();
        const auto* const data = reinterpret_cast<const uint8_t*>(buffer->base);
        if (tls_ == nullptr) take(data, static_cast<size_t>(size));
        else on_wire(data, static_cast<size_t>(size));
        expect_more(static_cast<size_t>(size));
        return;
    }
    pause_reading(true);
    if (size != UV_EOF) close();
    else on_end();
}

// While a large message is under way the system wakes this thread for large pieces of it only, for as long as they come.
void Connection::expect_more(size_t size) {
    if (closed_ || session_ == nullptr || handle_.tcp.type != UV_TCP) return;
    fed_ = true;
    size_t awaited = closing_ ? 0 : session_->awaited();
    // Most of a record may be here already, where TLS keeps it until the rest has come.
    if (tls_ != nullptr) awaited -= std::min(awaited, kRecord);
    if (awaited == 0 && !low_water_.up()) return;
    uv_os_fd_t socket = -1;
    uv_fileno(reinterpret_cast<const uv_handle_t*>(stream()), &socket);
    low_water_.after_read(socket, size, awaited);
    if (!low_water_.up() || std::exchange(watched_, true)) return;
    loop_.watch(this);
}

bool Connection::stays_watched() {
    if (std::exchange(fed_, false) && low_water_.up()) return true;
    watched_ = false;
    uv_os_fd_t socket = -1;
    if (low_water_.up() && uv_fileno(reinterpret_cast<const uv_handle_t*>(stream()), &socket) == 0) low_water_.take_down(socket);
    return false;
}

// The client sends nothing more.
void Connection::on_end() {
    if (lingering_ || session_ == nullptr) close();
    else if (!closing_) session_->on_end();
}

void Connection::take(const uint8_t* data, size_t size) {
    if (!closing_) on_bytes(data, size);
    else if ((lingered_ += size) > kMostLingered) close();
}

void Connection::on_wire(const uint8_t* data, size_t size) {
    if (tls_->failed()) {  // it was told, and may take its time to hear of it
        if ((lingered_ += size) > kMostLingered) close();
        return;
    }
    tls_->put(data, size);
    uint8_t* const plain = loop_.plain_buffer();
    while (!closed_) {
        const size_t said = tls_->read(plain, IoLoop::kReadSize, wire_.text);
        if (said == 0) break;
        take(plain, said);
    }
    if (closed_) return;
    if (tls_->failed()) {
        port_.tls_failed(tls_peer_, tls_->why());
        // A client that was not let in is told why.
        if (session_ == nullptr) close_when_sent(true);
        else close();
        return;
    }
    flush();
    if (tls_->ended() && !closed_) {
        pause_reading(true);
        on_end();
    }
}

// Has TLS make of what is to be sent as much as the system is given at once.
void Connection::seal() {
    // A record's worth: a session's pieces are often smaller, and each record costs.
    thread_local std::array<uint8_t, kRecord> record;
    if (tls_->ready() && !out_.empty()) {
        if (sealed_ == 0) {
            whole_ = out_.size;
            sent_at_ = now();
        }
        out_.buffers(buffers_, sealed_);
        auto piece = buffers_.begin();
        size_t used = 0;  // of the piece
        while (piece != buffers_.end() && wire_.text.size() < kMostSealed && !tls_->failed()) {
            size_t filled = 0;
            while (filled < kRecord && piece != buffers_.end()) {
                const size_t part = std::min(kRecord - filled, piece->len - used);
                std::memcpy(record.data() + filled, piece->base + used, part);
                filled += part;
                used += part;
                if (used == piece->len) ++piece, used = 0;
            }
            if (filled == 0) break;
            tls_->write(record.data(), filled, wire_.text);
            sealed_ += filled;
        }
        if (sealed_ == out_.size) {
            out_.clear();
            sealed_ = 0;
        }
    }
    wire_.join_text();
}

void Connection::on_bytes(const uint8_t* data, size_t size) {
    if (session_ != nullptr) {
        session_->on_bytes(data, size);
        return;
    }
    first_.insert(first_.end(), data, data + size);
    session_ = port_.open_session(*this, {reinterpret_cast<const char*>(first_.data()), first_.size()});
    if (session_ == nullptr) return;
    const std::vector<uint8_t> first = std::move(first_);
    if (port_.draining()) session_->drain();
    session_->on_bytes(first.data(), first.size());
}

void Connection::flush() {
    if (sending_ || closed_ || lingering_) return;
    const std::shared_ptr<Connection> alive = self_;
    while (true) {
        // With TLS only once all it had was sealed: the pieces of what is sealed go together.
        if (session_ != nullptr && sealed_ == 0) session_->fill();
        if (closed_ || sending_) return;  // the session may have flushed meanwhile
        if (tls_ != nullptr) seal();
        Output& out = tls_ == nullptr ? out_ : wire_;
        if (out.empty()) {
            if (tls_ == nullptr || !closing_ || tls_->end_said()) break;
            tls_->end(wire_.text);
            continue;
        }
        out.buffers(buffers_, 0);
        const auto count = static_cast<unsigned>(std::min(buffers_.size(), kMostBuffers));
        const int sent = uv_try_write(stream(), buffers_.data(), count);
        if (sent < 0 && sent != UV_EAGAIN) {
            close();
            return;
        }
        if (sent < 0 || static_cast<size_t>(sent) < out.size) {
            send_rest(out, sent < 0 ? 0 : static_cast<size_t>(sent));
            return;
        }
        out.clear();
    }
    if (closing_) end_output();
}

void Connection::send_rest(Output& out, size_t sent) {
    std::swap(out, in_system_);
    in_system_.buffers(buffers_, sent);
    write_.data = this;
    sending_ = true;
    last_taken_ = now();
    if (whole_ == 0) sent_at_ = last_taken_;
    const auto done = [](uv_write_t* write, int status) {
        auto* const self = static_cast<Connection*>(write->data);
        self->sending_ = false;
        self->in_system_.clear();
        if (status != 0) self->close();
        else self->attempt([&] { self->flush(); });
    };
    if (uv_write(&write_, stream(), buffers_.data(), static_cast<unsigned>(buffers_.size()), done) != 0) {
        sending_ = false;
        close();
    }
}

void Connection::close_when_sent(bool linger) {
    if (closing_ || closed_) return;
    closing_ = true;
    linger_ = linger;
    flush();
}

void Connection::end_output() {
    if (!linger_) {
        close();
        return;
    }
    if (lingering_) return;
    lingering_ = true;
    linger_since_ = now();
    if (session_ != nullptr) session_->on_close();  // what is still computed comes to no answer
    pause_reading(false);
    if (uv_shutdown(&shutdown_, stream(), [](uv_shutdown_t*, int) {}) != 0) close();
}

void Connection::drain() {
    if (session_ == nullptr) close();
    else if (!closing_) session_->drain();
}

size_t Connection::untaken() const {
    uv_os_fd_t socket = -1;
    int bytes = 0;
    if (uv_fileno(reinterpret_cast<const uv_handle_t*>(stream()), &socket) != 0 || ::ioctl(socket, TIOCOUTQ, &bytes) != 0) return 0;
    return static_cast<size_t>(bytes);
}

// Every second.
void Connection::linger_on() {
    if (const size_t queued = untaken(); queued != queued_) {
        queued_ = queued;
        linger_since_ = now();
    }
    if (now() - linger_since_ > kLinger) close();
}

void Connection::tick() {
    if (sending_) {
        if (const size_t queued = uv_stream_get_write_queue_size(stream()); queued != queued_) {
            queued_ = queued;
            last_taken_ = now();
        }
        const uint64_t allowed = port_.time_to_take(std::max(whole_, in_system_.size));
        if (allowed == 0 ? now() - last_taken_ > kUntaken : now() - sent_at_ > allowed) close();
        return;
    }
    const uint64_t silent = now() - last_heard_;
    if (tls_ != nullptr && !tls_->ready() && now() - opened_ > kHandshake) {
        close();
        return;
    }
    if (lingering_) linger_on();
    if (closing()) return;
    if (session_ != nullptr) session_->tick(silent);
    else if (silent > port_.patience()) close();
}

void Connection::close() {
    if (closed_) return;
    closed_ = true;
    loop_.remove(this);
    port_.count_connections(-1);
    if (session_ != nullptr) session_->on_close();
    uv_close(reinterpret_cast<uv_handle_t*>(stream()), [](uv_handle_t* handle) {
        auto* const self = static_cast<Connection*>(handle->data);
        self->out_.clear();
        self->wire_.clear();
        self->in_system_.clear();
        const std::shared_ptr<Connection> last = std::move(self->self_);
    });
}

}  // namespace ovms::net
