#include "scheduler.hpp"

#include <system_error>
#include <utility>

namespace ovms::net {

bool Scheduler::submit(std::shared_ptr<Job> job) {
    const std::lock_guard lock(mutex_);
    if (stopping_) return false;
    Model& model = *job->model;
    Queue& queue = queues_[&model];
    const size_t here = queue.running + queue.waiting.size();
    if (here >= model.nireq() && here - model.nireq() >= model.pool().max_queue()) {
        forget_if_empty(model, queue);
        return false;
    }
    Job& own = *job;
    own.place_ = queue.waiting.insert(queue.waiting.end(), std::move(job));
    own.waiting_ = true;
    offer(model, queue);
    return true;
}

void Scheduler::offer(Model& model, Queue& queue) {
    if (queue.offered || queue.waiting.empty() || queue.running > model.nireq()) return;
    queue.offered = true;
    turns_.push_back(&model);
    if (idle_ >= turns_.size()) {
        work_.notify_one();
    } else if (threads_ < most_threads_) {
        try {
            std::thread([this] { run(); }).detach();
            ++threads_;
        } catch (const std::system_error&) {
            if (threads_ == 0) throw;  // else those there are will come to it
        }
    }
}

bool Scheduler::withdraw(Job& job) {
    std::shared_ptr<Job> own;  // freed after the lock
    const std::lock_guard lock(mutex_);
    if (!job.waiting_) return false;
    const auto found = queues_.find(&*job.model);
    own = std::move(*job.place_);
    found->second.waiting.erase(job.place_);
    job.waiting_ = false;
    // A turn without a call is passed over.
    forget_if_empty(*job.model, found->second);
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
            offer(*model, queue);
            const std::shared_ptr<Model> alive = job->model.shared();  // the key of its queue
            lock.unlock();
            job->compute();
            job.reset();
            lock.lock();
            --queue.running;  // the queue stays as long as it runs something
        }
        offer(*model, queue);
        forget_if_empty(*model, queue);
    }
}

void Scheduler::forget_if_empty(Model& model, const Queue& queue) {
    if (queue.waiting.empty() && queue.running == 0 && !queue.offered) queues_.erase(&model);
}

size_t Scheduler::waiting(const std::string& name, int64_t version) {
    const std::lock_guard lock(mutex_);
    size_t waiting = 0;
    for (const auto& [model, queue] : queues_)
        if (model->version() == version && model->name() == name) waiting += queue.waiting.size();
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
