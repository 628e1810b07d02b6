#include "listener.hpp"

#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace ovms::net {
namespace {

constexpr uint64_t kPause = 50;  // milliseconds, after the system could open no more sockets
constexpr int kMostAtOnce = 64;  // connections that are accepted before others get their turn

}  // namespace

Listener::Listener(int socket, std::function<void(int)> accepted, std::function<void(std::string)> trouble)
    : socket_(socket), accepted_(std::move(accepted)), trouble_(std::move(trouble)) {}

Listener::~Listener() {
    if (!started_) ::close(socket_);
}

void Listener::start(uv_loop_t* loop) {
    started_ = true;
    open_handles_ = 2;
    poll_.data = pause_.data = this;
    uv_poll_init(loop, &poll_, socket_);
    uv_timer_init(loop, &pause_);
    watch();
}

void Listener::watch() {
    uv_poll_start(&poll_, UV_READABLE, [](uv_poll_t* handle, int, int) { static_cast<Listener*>(handle->data)->accept_all(); });
}

void Listener::stop() {
    if (open_handles_ == 0) return;
    uv_poll_stop(&poll_);
    accept_all();  // nobody whom the system has let in gets lost
    const auto closed = [](uv_handle_t* handle) {
        auto* const self = static_cast<Listener*>(handle->data);
        if (--self->open_handles_ == 0) ::close(self->socket_);
    };
    uv_close(reinterpret_cast<uv_handle_t*>(&poll_), closed);
    uv_close(reinterpret_cast<uv_handle_t*>(&pause_), closed);
}

void Listener::accept_all() {
    for (int i = 0; i < kMostAtOnce; ++i) {
        const int accepted = ::accept4(socket_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted >= 0) {
            last_error_ = 0;
            accepted_(accepted);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) return;
        if (errno != last_error_) trouble_(std::string("connections cannot be accepted: ") + std::strerror(errno));
        last_error_ = errno;
        if (uv_is_closing(reinterpret_cast<uv_handle_t*>(&poll_)) != 0) return;
        uv_poll_stop(&poll_);
        uv_timer_start(&pause_, [](uv_timer_t* handle) { static_cast<Listener*>(handle->data)->watch(); }, kPause, 0);
        return;
    }
}

}  // namespace ovms::net
