#include "scheduler.hpp"

#include <system_error>
#include <utility>

namespace ovms::net {

bool Scheduler::submit(std::shared_ptr<Job> job) {
    const std::lock_guard lock(mutex_);
    if (stopping_) return false;
    Model& model = *job->model;
    Queue& queue = queues_[&model];
    const size_t running_in_wait = queue.running > model.nireq() ? queue.running - model.nireq() : 0;
    if (queue.running >= model.nireq() && queue.waiting.size() + running_in_wait >= model.pool().max_queue()) return false;
    Job& own = *job;
    own.place_ = queue.waiting.insert(queue.waiting.end(), std::move(job));
    own.waiting_ = true;
    model.pool().add_queued(1);
    offer(model, queue);
    return true;
}

void Scheduler::offer(Model& model, Queue& queue) {
    if (queue.offered || queue.waiting.empty() || queue.running > model.nireq()) return;
    queue.offered = true;
    turns_.push_back(&model);
    if (idle_ >= turns_.size()) {
        work_.notify_one();
    } else if (threads_.size() < most_threads_) {
        try {
            threads_.emplace_back([this] { run(); });
        } catch (const std::system_error&) {
            if (threads_.empty()) throw;  // else those there are will come to it
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
    job.model->pool().add_queued(-1);
    // A turn without a call is passed over.
    if (found->second.waiting.empty() && found->second.running == 0 && !found->second.offered) queues_.erase(found);
    return true;
}

void Scheduler::run() {
    std::unique_lock lock(mutex_);
    while (true) {
        ++idle_;
        work_.wait(lock, [this] { return stopping_ || !turns_.empty(); });
        --idle_;
        if (stopping_) return;
        Model* const model = turns_.front();
        turns_.pop_front();
        Queue& queue = queues_[model];
        queue.offered = false;
        if (!queue.waiting.empty()) {
            std::shared_ptr<Job> job = std::move(queue.waiting.front());
            queue.waiting.pop_front();
            job->waiting_ = false;
            model->pool().add_queued(-1);
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
        if (queue.waiting.empty() && queue.running == 0 && !queue.offered) queues_.erase(model);
    }
}

void Scheduler::stop() {
    std::vector<std::thread> threads;
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        threads.swap(threads_);
    }
    work_.notify_all();
    for (std::thread& thread : threads) thread.join();
    const std::lock_guard lock(mutex_);
    queues_.clear();
    turns_.clear();
}

}  // namespace ovms::net
