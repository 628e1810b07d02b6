// Fuzz target for REST's connections: any bytes in any pieces, to a real connection on a pair of sockets, up to the calls
// of the data plane. Their place is taken by one that tells the size of the body.
//
// Checked besides what the sanitizers find:
// - what comes back is whole answers of HTTP/1.1, one after the other
// - how the bytes were cut into pieces makes no difference to them
// - once the client has said all, the connection comes to its end by itself, and nothing of it stays
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "net/connection.hpp"
#include "net/held_bytes.hpp"
#include "net/io_loop.hpp"
#include "net/rest_port.hpp"

namespace {

using namespace ovms;
using namespace ovms::net;

constexpr int kPatience = 200;  // turns of the loop in which an end has to come
constexpr size_t kMostBody = 2000;

[[noreturn]] void fail(const char* what, std::string_view shown) {
    std::fprintf(stderr, "%s:\n%.*s\n", what, static_cast<int>(shown.size()), shown.data());
    std::abort();
}

Status tell_size(const Registry&, const ModelKey& key, const uint8_t* body, size_t size, const Caller&, const ByteSink& sink,
                 Trace*) {
    if (body[size] != 0) fail("no zero behind a body", {});
    if (key.name == "none") return {Code::kNotFound, "no such model: " + std::string(key.name)};
    if (key.name == "full") return {Code::kResourceExhausted, "full"};
    const std::string text = "{\"size\": " + std::to_string(size) + ", \"version\": " + std::to_string(key.version) + "}";
    const size_t room = text.size() + (key.name == "long" ? 20'000 : 0);
    uint8_t* const out = sink.allocate(sink.context, room);
    if (out == nullptr) return {Code::kResourceExhausted, "out of memory"};
    std::memset(out, ' ', room);
    std::memcpy(out, text.data(), text.size());
    return {};
}

struct Server {
    LastHeard last_heard{1};
    IoLoop loop{std::chrono::microseconds(0), last_heard, 0};
    ColdQueue cold;
    Scheduler scheduler{1};
    DataPlane plane;
    RestPort port;

    explicit Server(bool cors) : port(plane, scheduler, cold, settings(cors)) {
        plane.registry = reinterpret_cast<const Registry*>(&plane);  // never looked at
        plane.predict_tfs_json = tell_size;
    }
    static RestSettings settings(bool cors) {
        RestSettings made;
        made.max_body = kMostBody;
        made.cors = cors;
        made.origins = {"http://page.example"};
        return made;
    }

    void turn() {
        uv_run(loop.uv(), UV_RUN_NOWAIT);
        while (port.cold_calls > 0) {
            ColdQueue::Event event;
            if (!cold.pop(event)) break;
            const size_t size = event.call->body.size();
            event.call->respond(event.call->method == "GET" ? 200 : 404, {{"Content-Type", "text/plain"}},
                                event.call->body_trouble + std::to_string(size));
        }
    }
};

// What a client reads that sends these bytes, cut into pieces by chance of this seed (0: in one).
std::string exchange(Server& server, const uint8_t* data, size_t size, uint32_t chance) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) fail("no sockets", {});
    server.port.count_connections(1);
    Connection::adopt(server.loop, server.port, ends[0], true);
    std::string received;
    bool ended = false;
    const auto read_all = [&] {
        char buffer[1 << 16];
        ssize_t got = 0;
        while ((got = ::read(ends[1], buffer, sizeof buffer)) > 0) received.append(buffer, static_cast<size_t>(got));
        ended |= got == 0 || (got < 0 && errno != EAGAIN);
    };
    size_t sent = 0;
    while (sent < size && !ended) {
        size_t piece = size - sent;
        if (chance != 0) {
            chance = chance * 1664525 + 1013904223;
            piece = std::min<size_t>(piece, 1 + (chance >> 24) % ((chance & 7) == 0 ? 200 : 9));
        }
        const ssize_t written = ::send(ends[1], data + sent, piece, MSG_NOSIGNAL);
        if (written > 0) sent += static_cast<size_t>(written);
        else if (errno != EAGAIN) break;
        server.turn();
        read_all();
    }
    ::shutdown(ends[1], SHUT_WR);
    for (int turns = 0; !ended || !server.loop.connections().empty(); ++turns) {
        if (turns > kPatience) fail("the connection does not end", received);
        server.turn();
        read_all();
    }
    ::close(ends[1]);
    server.turn();
    if (server.port.connections() != 0 || server.port.cold_calls != 0) fail("something stays behind", received);
    return received;
}

// The answers without their dates; of a refusal its status, as what is wrong first can depend on what has come yet.
std::string checked(const std::string& received) {
    std::string out;
    std::string_view rest = received;
    while (!rest.empty()) {
        const size_t end = rest.find("\r\n\r\n");
        if (!rest.starts_with("HTTP/1.1 ") || end == std::string_view::npos) fail("no answer of HTTP/1.1", received);
        std::string_view head = rest.substr(0, end + 2);
        const bool refused = rest[9] == '4' || rest[9] == '5';
        if (refused) (out += rest.substr(0, 12)) += '\n';
        rest.remove_prefix(end + 4);
        size_t length = 0;
        while (!head.empty()) {
            const std::string_view line = head.substr(0, head.find("\r\n"));
            head.remove_prefix(line.size() + 2);
            if (line.starts_with("Content-Length: ")) length = std::strtoull(std::string(line.substr(16)).c_str(), nullptr, 10);
            // Of a client that has left in a body that nobody wanted the server may know already, or not.
            if (!refused && !line.starts_with("Date: ") && !line.starts_with("Connection: ")) (out += line) += '\n';
        }
        if (length > rest.size()) fail("an answer is cut off", received);
        if (!refused) out += rest.substr(0, length);
        rest.remove_prefix(length);
    }
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static Server plain(false);
    static Server of_others(true);
    if (size == 0) return 0;
    const uint8_t choice = *data++;
    --size;
    Server& server = (choice & 1) == 0 ? plain : of_others;
    const size_t held = HeldBytes::all();
    const std::string whole = exchange(server, data, size, 0);
    const std::string pieces = exchange(server, data, size, choice * 2654435761u | 1);
    if (HeldBytes::all() != held) fail("bytes are held for nobody", whole);
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    // HTTP/2, or answers whose length is that of a body which is not there.
    if (text.starts_with("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") || text.find("HEAD") != std::string_view::npos) return 0;
    if (checked(whole) != checked(pieces)) fail("pieces make a difference", whole + "\n---- in pieces:\n" + pieces);
    return 0;
}
