// What all connections of one listening port have in common.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "refusals.hpp"
#include "session.hpp"

namespace ovms::net {

class Connection;
class Listener;

class Port {
public:
    virtual ~Port() = default;

    // The session for a connection that begins with these bytes; null: they do not tell yet which protocol it is.
    virtual std::unique_ptr<Session> open_session(Connection& connection, std::string_view first) = 0;

    // The interface, as the log and the metrics call it.
    virtual std::string_view name() const = 0;

    // Milliseconds that a connection may stay open without a word.
    virtual uint64_t patience() const = 0;

    // Milliseconds that a client has to take an answer of so many bytes; 0: as long as it takes some of it now and then.
    virtual uint64_t time_to_take(size_t) const { return 0; }

    // Whether clients that were let in last, when the port closes, are answered before their connections are.
    virtual bool answers_the_last() const { return false; }

    // Once true, new calls are refused.
    bool draining() const { return draining_.load(std::memory_order_relaxed); }
    void drain() { draining_.store(true, std::memory_order_relaxed); }

    int connections() const { return connections_.load(std::memory_order_relaxed); }
    void count_connections(int more) { connections_.fetch_add(more, std::memory_order_relaxed); }

    // Before it listens; 0: any number.
    void limit_connections(int most) { most_connections_ = most; }
    bool full() const { return most_connections_ != 0 && connections() >= most_connections_; }

    Refusals refusals;

    std::vector<Listener*> listeners;  // its own; the front end's thread's

private:
    std::atomic<bool> draining_{false};
    std::atomic<int> connections_{0};
    int most_connections_ = 0;
};

}  // namespace ovms::net
