// What all connections of one listening port have in common.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "refusals.hpp"
#include "session.hpp"
#include "tls.hpp"

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

    // What its connections may carry, for TLS's ALPN; best first.
    virtual std::vector<std::string> protocols() const = 0;

    // TLS for the connections that come from now on; null: none. From any thread. Those of a Unix socket have none.
    void set_tls(std::shared_ptr<const TlsContext> tls);
    std::shared_ptr<const TlsContext> tls();

    // A client could not be understood, or was not let in. Tells it to on_trouble, though not more often than it can be read.
    void tls_failed(const std::string& peer, const std::string& why);
    uint64_t tls_failures();
    std::function<void(std::string)> on_trouble;  // set before the first connection; from any thread

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
    std::mutex mutex_;  // of what follows: for new connections, not for calls
    std::shared_ptr<const TlsContext> tls_;
    uint64_t failed_ = 0;  // handshakes that were not told of
    uint64_t all_failed_ = 0;
    std::chrono::steady_clock::time_point told_{};
};

}  // namespace ovms::net
