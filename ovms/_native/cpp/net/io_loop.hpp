// One I/O thread: an event loop, its connections, and what other threads ask of it.
#pragma once

#include <uv.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <vector>

#include "../deadline.hpp"
#include "busy_poll.hpp"
#include "keys.hpp"
#include "metrics.hpp"
#include "spans.hpp"

namespace ovms::net {

class Connection;

class IoLoop {
public:
    // Most bytes that one read takes from a socket.
    static constexpr size_t kReadSize = 256 << 10;

    // busy_poll, last_heard, number: see BusyPoll.
    IoLoop(std::chrono::microseconds busy_poll, LastHeard& last_heard, size_t number);
    ~IoLoop();
    IoLoop(const IoLoop&) = delete;
    IoLoop& operator=(const IoLoop&) = delete;

    void start();
    // Closes what is left of its connections and ends the thread.
    void stop();

    // Has the thread run something soon. From any thread, until stop.
    void post(std::function<void()> task);

    // The rest is for its own thread.
    uv_loop_t* uv() { return &loop_; }
    uint8_t* read_buffer() { return read_buffer_.get(); }
    // For what TLS makes of that; as large.
    uint8_t* plain_buffer() {
        if (plain_buffer_ == nullptr) plain_buffer_ = std::make_unique_for_overwrite<uint8_t[]>(kReadSize);
        return plain_buffer_.get();
    }
    void add(Connection* connection) { connections_.insert(connection); }
    void remove(Connection* connection) {
        connections_.erase(connection);
        std::erase(watched_, connection);
    }
    // Has the connection asked each millisecond whether it is fed, until it says no.
    void watch(Connection* connection);
    // Something has come.
    void heard() { busy_poll_.heard(); }
    // A call was computed and answered by this thread at once.
    void answered() { busy_poll_.answered(); }
    const std::unordered_set<Connection*>& connections() const { return connections_; }
    Metrics& metrics() { return metrics_; }
    // Null unless calls are traced. Made before the thread starts.
    Spans* spans() { return spans_.get(); }
    void trace(const SamplerSettings& sampler, size_t capacity) { spans_ = std::make_unique<Spans>(sampler, capacity); }
    // The API keys in force; null: none is.
    const std::shared_ptr<const KeySet>& keys() const { return keys_; }
    void set_keys(std::shared_ptr<const KeySet> keys) { keys_ = std::move(keys); }

    // Has expired run when deadline comes, unless it was forgotten before.
    using DeadlineKey = std::pair<Deadline, uint64_t>;
    DeadlineKey at(Deadline deadline, std::function<void()> expired);
    void forget(const DeadlineKey& key);

private:
    void run();
    void run_tasks();
    void run_deadlines();
    void arm();
    void tick();
    void look();

    uv_loop_t loop_{};
    uv_async_t wake_{};
    uv_timer_t ticker_{};
    uv_timer_t alarm_{};
    uv_timer_t lookout_{};
    uv_tcp_t first_{};
    std::thread thread_;
    std::unique_ptr<uint8_t[]> read_buffer_;
    std::unique_ptr<uint8_t[]> plain_buffer_;
    std::unordered_set<Connection*> connections_;
    std::vector<Connection*> watched_;
    Metrics metrics_;
    std::unique_ptr<Spans> spans_;
    std::shared_ptr<const KeySet> keys_;
    std::map<DeadlineKey, std::function<void()>> deadlines_;
    uint64_t deadlines_made_ = 0;
    BusyPoll busy_poll_;

    std::mutex mutex_;  // of what follows; not on the path of calls that are computed by the loop's own thread
    bool closed_ = false;  // the handles are closed, or about to be
    std::vector<std::function<void()>> tasks_;
    std::vector<std::function<void()>> running_;
};

}  // namespace ovms::net
