#include "scheduler.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

namespace ovms::net {
namespace {

// Of work without a model.
constexpr size_t kRunning = 2;
constexpr size_t kWaiting = 1024;

size_t most_running(Model* model) { return model == nullptr ? kRunning : std::max(size_t{model->nireq()} + 1, model->pool().most_leases()); }

size_t most_waiting(Model* model) { return model == nullptr ? kWaiting : model->pool().max_queue(); }

}  // namespace

void Scheduler::start() {
    const std::lock_guard lock(mutex_);
    make_thread();
}

void Scheduler::make_thread() {
    std::thread([this] { run(); }).detach();
    ++threads_;
}

bool Scheduler::submit(std::shared_ptr<Job> job) {
    const std::lock_guard lock(mutex_);
    if (stopping_) return false;
    Model* const model = job->model.shared().get();
    Queue& queue = queues_[model];
    const size_t here = queue.running + queue.waiting.size();
    const size_t at_once = model == nullptr ? kRunning : model->nireq();
    if (here >= at_once && here - at_once >= most_waiting(model)) {
        forget_if_empty(model, queue);
        return false;
    }
    Job& own = *job;
    own.place_ = queue.waiting.insert(queue.waiting.end(), std::move(job));
    own.waiting_ = true;
    offer(model, queue);
    return true;
}

void Scheduler::offer(Model* model, Queue& queue) {
    if (queue.offered || queue.waiting.empty() || queue.running >= most_running(model)) return;
    queue.offered = true;
    turns_.push_back(model);
    if (idle_ >= turns_.size()) {
        work_.notify_one();
    } else if (threads_ < most_threads_) {
        try {
            make_thread();
        } catch (const std::system_error&) {
            // Those there are will come to it.
        }
    }
}

bool Scheduler::withdraw(Job& job) {
    std::shared_ptr<Job> own;  // freed after the lock
    const std::lock_guard lock(mutex_);
    if (!job.waiting_) return false;
    Model* const model = job.model.shared().get();
    const auto found = queues_.find(model);
    own = std::move(*job.place_);
    found->second.waiting.erase(job.place_);
    job.waiting_ = false;
    // A turn without a call is passed over.
    forget_if_empty(model, found->second);
    return true;
}

void Scheduler::run() {
    std::unique_lock lock(mutex_);
    while (true) {
        ++idle_;
        work_.wait(lock, [this] { return stopping_ || !turns_.empty(); });
        --idle_;
        if (stopping_) {
            --threads_;
            ended_.notify_all();
            return;
        }
        Model* const model = turns_.front();
        turns_.pop_front();
        Queue& queue = queues_[model];
        queue.offered = false;
        if (!queue.waiting.empty()) {
            std::shared_ptr<Job> job = std::move(queue.waiting.front());
            queue.waiting.pop_front();
            job->waiting_ = false;
            ++queue.running;
            offer(model, queue);
            const std::shared_ptr<Model> alive = job->model.shared();  // the key of its queue
            lock.unlock();
            job->compute();
            job.reset();
            lock.lock();
            --queue.running;  // the queue stays as long as it runs something
        }
        offer(model, queue);
        forget_if_empty(model, queue);
    }
}

void Scheduler::forget_if_empty(Model* model, const Queue& queue) {
    if (queue.waiting.empty() && queue.running == 0 && !queue.offered) queues_.erase(model);
}

size_t Scheduler::waiting(const std::string& name, int64_t version) {
    const std::lock_guard lock(mutex_);
    size_t waiting = 0;
    for (const auto& [model, queue] : queues_)
        // A queue without jobs may be that of a model which has gone.
        if (model != nullptr && !queue.waiting.empty() && model->version() == version && model->name() == name)
            waiting += queue.waiting.size();
    return waiting;
}

bool Scheduler::stop(Deadline deadline) {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    work_.notify_all();
    if (!ended_.wait_until(lock, deadline, [this] { return threads_ == 0; })) return false;
    queues_.clear();
    turns_.clear();
    return true;
}

}  // namespace ovms::net
