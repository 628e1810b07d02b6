// libFuzzer target: one connection to a gRPC port. The input is a list of steps of its client, each a byte and what it
// needs: frames that are right but for their content, any frames, any bytes, pieces of them, and what the server is told.
//
// The connection, the session and the calls are those of the server, on a socket pair and an event loop that this thread
// turns; the data plane is a function that looks at the first byte. Besides what the sanitizers see, the target checks
// that all that is sent consists of whole frames whose headers can be read, and that nothing is held at the end.
#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "net/connection.hpp"
#include "net/grpc_port.hpp"
#include "net/held_bytes.hpp"

using namespace ovms;
using namespace ovms::net;

namespace {

#define REQUIRE(condition)                                                  \
    do {                                                                    \
        if (!(condition)) {                                                 \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                   \
        }                                                                   \
    } while (false)

constexpr size_t kMaxMessage = 1 << 20;
constexpr size_t kUntold = 4 << 20;  // bytes that other threads hold, or have given back and not yet told
constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

constexpr std::string_view kPaths[] = {"/tensorflow.serving.PredictionService/Predict", "/test.Echo/Echo", "/test.Echo/Twice",
                                       "/nothing"};
constexpr std::string_view kEncodings[] = {"", "gzip", "deflate", "identity", "br"};
constexpr std::string_view kTimeouts[] = {"", "1S", "1n", "99999999H", "x", "10m"};
constexpr std::string_view kTypes[] = {"application/grpc", "application/grpc+proto", "text/html", ""};

// Stands for the data plane: refuses, answers with a few bytes, or with many, or fails.
Status answer(const Registry&, const uint8_t* data, size_t size, const PredictOptions&, const Caller& caller, const ByteSink& sink,
              Trace*) {
    REQUIRE(size == 0 || data[size] == 0);
    const uint8_t first = size == 0 ? 0 : data[0];
    if (first < 32) return {Code::kInvalidArgument, std::string(reinterpret_cast<const char*>(data), size)};
    if (caller.deadline <= Clock::now()) return {Code::kDeadlineExceeded, "late"};
    const size_t made = first < 64 ? size : size_t{first} << (first % 13);
    uint8_t* const out = sink.allocate(sink.context, made);
    if (out == nullptr) return {Code::kResourceExhausted, "out of memory"};
    std::fill_n(out, made, first);
    return {};
}

class Server {
public:
    Server() : port(plane_, scheduler_, cold_, settings()) {
        scheduler_.start();
        std::thread([this] {
            ColdQueue::Event event;
            while (cold_.pop(event)) {
                if (event.call == nullptr || event.left) continue;
                const std::string_view body(reinterpret_cast<const char*>(event.call->body.data()), event.call->body.size());
                event.call->send(body);
                if (event.call->path == kPaths[2]) event.call->send(body);
                event.call->finish(body.size() % 3 == 0 ? 5 : 0, body);
                event = {};
            }
        }).detach();
    }

    // Runs what there is to run.
    void turn() { uv_run(loop.uv(), UV_RUN_NOWAIT); }

    LastHeard last_heard{1};
    IoLoop loop{std::chrono::microseconds(0), last_heard, 0};

private:
    static GrpcSettings settings() {
        GrpcSettings settings;
        settings.max_message = kMaxMessage;
        settings.cold_paths = {std::string(kPaths[1]), std::string(kPaths[2])};
        return settings;
    }

    const Registry registry_;
    const DataPlane plane_{&registry_, &answer, nullptr};
    Scheduler scheduler_{2};
    ColdQueue cold_;

public:
    GrpcPort port;
};

// Reads what the server sends.
class Reader {
public:
    Reader() { nghttp2_hd_inflate_new(&inflater_); }
    ~Reader() { nghttp2_hd_inflate_del(inflater_); }

    void take(const uint8_t* data, size_t size) {
        bytes_.append(reinterpret_cast<const char*>(data), size);
        while (bytes_.size() >= 9) {
            const auto at = [&](size_t i) { return static_cast<uint8_t>(bytes_[i]); };
            const size_t length = size_t{at(0)} << 16 | size_t{at(1)} << 8 | at(2);
            REQUIRE(length <= 16384);
            REQUIRE(at(3) <= NGHTTP2_CONTINUATION);
            if (bytes_.size() < 9 + length) return;
            if (at(3) == NGHTTP2_HEADERS) {
                REQUIRE((at(4) & NGHTTP2_FLAG_END_HEADERS) != 0);
                headers(reinterpret_cast<const uint8_t*>(bytes_.data()) + 9, length);
            }
            bytes_.erase(0, 9 + length);
        }
    }

private:
    void headers(const uint8_t* data, size_t size) {
        while (true) {
            nghttp2_nv field;
            int flags = 0;
            const ssize_t used = nghttp2_hd_inflate_hd2(inflater_, &field, &flags, data, size, 1);
            REQUIRE(used >= 0);
            data += used;
            size -= static_cast<size_t>(used);
            if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
        }
        nghttp2_hd_inflate_end_headers(inflater_);
    }

    nghttp2_hd_inflater* inflater_ = nullptr;
    std::string bytes_;
};

class Steps {
public:
    Steps(const uint8_t* data, size_t size) : data_(data), end_(data + size) {}
    bool over() const { return data_ == end_; }
    uint8_t byte() { return over() ? 0 : *data_++; }
    std::string bytes(size_t most) {
        const size_t size = std::min(most, static_cast<size_t>(end_ - data_));
        data_ += size;
        return {reinterpret_cast<const char*>(data_ - size), size};
    }

private:
    const uint8_t* data_;
    const uint8_t* end_;
};

std::string number(uint32_t value, int bytes) {
    std::string out;
    while (bytes-- > 0) out += static_cast<char>(value >> (8 * bytes));
    return out;
}

std::string frame(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload) {
    return number(static_cast<uint32_t>(payload.size()), 3) + static_cast<char>(type) + static_cast<char>(flags) +
           number(stream, 4) + payload;
}

// A header that is not put into HPACK's table.
void add_header(std::string& out, std::string_view name, std::string_view value) {
    out += '\0';
    out += static_cast<char>(name.size());
    out += name;
    out += static_cast<char>(value.size());
    out += value;
}

class Client {
public:
    explicit Client(Server& server) : server_(server) {
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
        socket_ = ends[0];
        server.port.count_connections(1);
        Connection::adopt(server.loop, server.port, ends[1], true);
    }

    void send(const std::string& bytes) {
        for (size_t sent = 0; sent < bytes.size();) {
            const size_t piece = std::min(piece_, bytes.size() - sent);
            const ssize_t taken = ::send(socket_, bytes.data() + sent, piece, MSG_NOSIGNAL);
            if (taken <= 0 && ++stuck_ > 100) return;
            if (taken > 0) sent += static_cast<size_t>(taken);
            server_.turn();
            if (reads_) read();
        }
    }

    void read() {
        uint8_t buffer[1 << 16];
        ssize_t size = 0;
        while ((size = ::recv(socket_, buffer, sizeof buffer, 0)) > 0) {
            reader_.take(buffer, static_cast<size_t>(size));
            server_.turn();
        }
    }

    void step(Steps& steps) {
        switch (const uint8_t kind = steps.byte(); kind % 12) {
            case 0: return send(call(steps));
            case 1: {
                const uint8_t flags = steps.byte();
                std::string message = steps.bytes(steps.byte());
                if (flags & 2) message.append(size_t{steps.byte()} << 8, 'z');
                std::string data = (flags & 4 ? "\1" : std::string(1, '\0')) + number(static_cast<uint32_t>(message.size()), 4) + message;
                if (flags & 8) data.resize(std::min<size_t>(steps.byte(), data.size()));
                for (size_t at = 0; at < data.size(); at += 16384)
                    send(frame(NGHTTP2_DATA, at + 16384 >= data.size() ? flags & 1 : 0, stream(steps), data.substr(at, 16384)));
                return;
            }
            case 2: return send(frame(NGHTTP2_DATA, steps.byte() & 9, stream(steps), steps.bytes(steps.byte())));
            case 3: return send(frame(NGHTTP2_RST_STREAM, 0, stream(steps), number(steps.byte(), 4)));
            case 4: return send(frame(NGHTTP2_WINDOW_UPDATE, 0, kind & 64 ? 0 : stream(steps), number(1u << (steps.byte() % 31), 4)));
            case 5: return send(frame(NGHTTP2_SETTINGS, 0, 0, number(steps.byte() % 8, 2) + number(steps.byte() << (steps.byte() % 20), 4)));
            case 6: return send(frame(NGHTTP2_PING, steps.byte() & 1, 0, "12345678"));
            case 7: {
                const uint8_t type = steps.byte() % 16, flags = steps.byte(), id = steps.byte();
                return send(frame(type, flags, id, steps.bytes(steps.byte())));
            }
            case 8: return send(steps.bytes(steps.byte()));
            case 9: piece_ = kind & 64 ? 1 << 20 : size_t{steps.byte()} + 1; return;
            case 10: reads_ = (kind & 64) != 0; return;
            default: return tell(steps.byte());
        }
    }

    // The client goes; nothing may be left of it.
    void end() {
        if (reads_) read();
        ::close(socket_);
        for (int i = 0; server_.port.connections() != 0 || server_.port.cold_calls.load() != 0; ++i) {
            REQUIRE(i < 20'000);
            server_.turn();
            if (i > 10) usleep(100);
        }
        REQUIRE(HeldBytes::all() < kUntold);
    }

private:
    uint32_t stream(Steps& steps) { return 2u * (steps.byte() % std::max(1u, next_)) + 1; }

    std::string call(Steps& steps) {
        const uint8_t how = steps.byte(), which = steps.byte();
        std::string block;
        add_header(block, ":method", how & 2 ? "GET" : "POST");
        add_header(block, ":scheme", "http");
        add_header(block, ":path", kPaths[which % std::size(kPaths)]);
        add_header(block, "content-type", kTypes[how & 4 ? which / 4 % std::size(kTypes) : 0]);
        if (how & 8) add_header(block, "grpc-encoding", kEncodings[which / 16 % std::size(kEncodings)]);
        if (how & 16) add_header(block, "grpc-timeout", kTimeouts[which / 16 % std::size(kTimeouts)]);
        if (how & 32) add_header(block, "grpc-accept-encoding", "gzip");
        if (how & 64) {
            const std::string name = steps.bytes(steps.byte() % 100);
            add_header(block, name, steps.bytes(steps.byte() % 100));
        }
        return frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | (how & 1), 2 * next_++ + 1, block);
    }

    // What the server does by itself, or is told.
    void tell(uint8_t what) {
        if (server_.loop.connections().empty()) return;
        Connection& connection = **server_.loop.connections().begin();
        if (what == 0) connection.attempt([&] { connection.drain(); });
        else if (what < 128) connection.attempt([&] { connection.tick(); });
        else server_.turn();
    }

    Server& server_;
    int socket_ = -1;
    Reader reader_;
    size_t piece_ = 1 << 20;
    uint32_t next_ = 0;
    int stuck_ = 0;
    bool reads_ = true;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static Server& server = *[] {
        std::signal(SIGPIPE, SIG_IGN);  // as Python has it
        return new Server();
    }();
    Steps steps(data, size);
    Client client(server);
    if ((steps.byte() & 1) == 0) client.send(std::string(kPreface) + frame(NGHTTP2_SETTINGS, 0, 0, {}));
    while (!steps.over()) client.step(steps);
    client.end();
    return 0;
}
