#include "io_loop.hpp"

#include <algorithm>
#include <utility>

#include "connection.hpp"

namespace ovms::net {
namespace {

constexpr uint64_t kTickMilliseconds = 1000;
constexpr uint64_t kLookMilliseconds = 1;

}  // namespace

IoLoop::IoLoop(std::chrono::microseconds busy_poll, LastHeard& last_heard, size_t number)
    : read_buffer_(std::make_unique_for_overwrite<uint8_t[]>(kReadSize)), busy_poll_(busy_poll, last_heard, number) {
    uv_loop_init(&loop_);
    wake_.data = ticker_.data = alarm_.data = lookout_.data = this;
    uv_async_init(&loop_, &wake_, [](uv_async_t* handle) { static_cast<IoLoop*>(handle->data)->run_tasks(); });
    uv_timer_init(&loop_, &ticker_);
    uv_timer_init(&loop_, &alarm_);
    uv_timer_init(&loop_, &lookout_);
}

IoLoop::~IoLoop() {
    stop();
    if (closed_) return;
    for (auto* handle : {reinterpret_cast<uv_handle_t*>(&wake_), reinterpret_cast<uv_handle_t*>(&ticker_),
                         reinterpret_cast<uv_handle_t*>(&alarm_), reinterpret_cast<uv_handle_t*>(&lookout_)})
        uv_close(handle, nullptr);
    uv_run(&loop_, UV_RUN_DEFAULT);
    uv_loop_close(&loop_);
}

void IoLoop::start() {
    uv_timer_start(&ticker_, [](uv_timer_t* handle) { static_cast<IoLoop*>(handle->data)->tick(); }, kTickMilliseconds,
                   kTickMilliseconds);
    // A loop opens a file of its own with its first stream: now, so that no later connection is the one that lacks it.
    uv_tcp_init(&loop_, &first_);
    uv_close(reinterpret_cast<uv_handle_t*>(&first_), nullptr);
    thread_ = std::thread([this] { run(); });
}

void IoLoop::run() {
    if (busy_poll_.never()) {
        uv_run(&loop_, UV_RUN_DEFAULT);
        return;
    }
    while (uv_run(&loop_, busy_poll_.looks() ? UV_RUN_NOWAIT : UV_RUN_ONCE) != 0) {
    }
}

void IoLoop::stop() {
    if (!thread_.joinable()) return;
    post([this] {
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
        }
        const std::vector<Connection*> all(connections_.begin(), connections_.end());
        for (Connection* connection : all) connection->close();
        deadlines_.clear();
        for (auto* handle : {reinterpret_cast<uv_handle_t*>(&wake_), reinterpret_cast<uv_handle_t*>(&ticker_),
                             reinterpret_cast<uv_handle_t*>(&alarm_), reinterpret_cast<uv_handle_t*>(&lookout_)})
            uv_close(handle, nullptr);
    });
    thread_.join();
    uv_loop_close(&loop_);
    // What came after the loop had ended: nobody is left to hear of it.
    const std::lock_guard lock(mutex_);
    tasks_.clear();
}

void IoLoop::post(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    // Under the lock: the handle lives until stop, which takes it too.
    if (tasks_.size() == 1 && !closed_) uv_async_send(&wake_);
}

void IoLoop::run_tasks() {
    {
        const std::lock_guard lock(mutex_);
        running_.swap(tasks_);
    }
    heard();
    for (const auto& task : running_) task();
    running_.clear();
}

IoLoop::DeadlineKey IoLoop::at(Deadline deadline, std::function<void()> expired) {
    const DeadlineKey key{deadline, deadlines_made_++};
    deadlines_.emplace(key, std::move(expired));
    if (deadlines_.begin()->first == key) arm();
    return key;
}

void IoLoop::forget(const DeadlineKey& key) { deadlines_.erase(key); }

void IoLoop::run_deadlines() {
    const Deadline now = Clock::now();
    while (!deadlines_.empty() && deadlines_.begin()->first.first <= now) {
        const auto expired = std::move(deadlines_.begin()->second);
        deadlines_.erase(deadlines_.begin());
        expired();
    }
    arm();
}

void IoLoop::arm() {
    if (deadlines_.empty()) return;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadlines_.begin()->first.first - Clock::now()).count();
    uv_update_time(&loop_);
    uv_timer_start(&alarm_, [](uv_timer_t* handle) { static_cast<IoLoop*>(handle->data)->run_deadlines(); },
                   static_cast<uint64_t>(std::max<int64_t>(0, left)), 0);
}

void IoLoop::watch(Connection* connection) {
    if (watched_.empty())
        uv_timer_start(&lookout_, [](uv_timer_t* handle) { static_cast<IoLoop*>(handle->data)->look(); }, kLookMilliseconds,
                       kLookMilliseconds);
    watched_.push_back(connection);
}

void IoLoop::look() {
    std::erase_if(watched_, [](Connection* connection) { return !connection->stays_watched(); });
    if (watched_.empty()) uv_timer_stop(&lookout_);
}

void IoLoop::tick() {
    const std::vector<Connection*> all(connections_.begin(), connections_.end());
    for (Connection* connection : all)
        if (connections_.contains(connection)) connection->attempt([&] { connection->tick(); });  // which may close others
}

}  // namespace ovms::net
