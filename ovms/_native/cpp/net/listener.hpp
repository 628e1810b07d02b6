// Accepts connections on one socket and deals them out to the I/O threads.
#pragma once

#include <uv.h>

#include <functional>
#include <string>

namespace ovms::net {

class Listener {
public:
    // accepted gets each new socket; trouble gets a line for the log when the system gives no more, once until it does.
    Listener(int socket, std::function<void(int)> accepted, std::function<void(std::string)> trouble);
    ~Listener();
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    // Both on the loop's thread.
    void start(uv_loop_t* loop);
    void stop();

private:
    void accept_all();
    void watch();

    const int socket_;
    std::function<void(int)> accepted_;
    std::function<void(std::string)> trouble_;
    uv_poll_t poll_{};
    uv_timer_t pause_{};
    int last_error_ = 0;
    int open_handles_ = 0;
    bool started_ = false;
};

}  // namespace ovms::net
