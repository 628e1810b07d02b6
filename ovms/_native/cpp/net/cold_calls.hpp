// Calls that are answered in Python: everything but predictions.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../deadline.hpp"
#include "body.hpp"

namespace ovms::net {

// One call. What it says of the request does not change; the answer may come from any thread, and is of no effect once
// the client has gone.
class ColdCall : public std::enable_shared_from_this<ColdCall> {
public:
    // count: of the calls that there are.
    explicit ColdCall(std::atomic<size_t>& count) : count_(count) { count_.fetch_add(1, std::memory_order_relaxed); }
    virtual ~ColdCall() { count_.fetch_sub(1, std::memory_order_relaxed); }

    bool grpc = false;
    std::string method;  // HTTP's
    std::string path;    // gRPC: /SERVICE/METHOD; HTTP: as it was sent, with the query
    std::vector<std::pair<std::string, std::string>> headers;  // HTTP only, names in small letters
    std::string peer;    // HTTP only: the client's address
    std::string protocol;  // HTTP only: its version, such as HTTP/1.1
    Body body;
    std::string body_trouble;  // HTTP only: why the body is none; empty if it is one, or was not asked for
    Deadline deadline = Deadline::max();

    // Whether the client has gone, if that is known.
    virtual bool gone() const { return false; }
    // gRPC: one message of the answer.
    virtual void send(std::string_view message) = 0;
    // gRPC: the end of the answer, with a code and a text.
    virtual void finish(int code, std::string_view message) = 0;
    // HTTP: the whole answer.
    virtual void respond(int status, std::vector<std::pair<std::string, std::string>> fields, std::string_view content) = 0;

private:
    std::atomic<size_t>& count_;
};

class ColdQueue {
public:
    struct Event {
        std::shared_ptr<ColdCall> call;
        bool left = false;   // no new call: the client of this one has gone
        std::string notice{};  // without a call: something for the log
    };

    void push(Event event);
    // Waits for the next event; false: the queue is closed.
    bool pop(Event& event);
    // Those who wait, and will, get nothing more.
    void close();

private:
    std::mutex mutex_;
    std::condition_variable news_;
    std::deque<Event> events_;
    bool closed_ = false;
};

}  // namespace ovms::net
