#include "shape_cache.hpp"

#include <algorithm>
#include <exception>

#include "allocator.hpp"
#include "shape_check.hpp"

namespace ovms {
namespace {

// Compiling takes long, so that more shapes than this are a flood that no one can wait for.
constexpr size_t kMostQueued = 16;

// A shape that OpenVINO refuses to compile is asked for again by whoever does not know better.
constexpr size_t kMostRefused = 64;

std::string key_of(const std::vector<ov::PartialShape>& shapes) {
    std::string key;
    for (const ov::PartialShape& shape : shapes) {
        key.push_back(static_cast<char>(shape.size()));
        for (const ov::Dimension& dim : shape) {
            const int64_t size = dim.get_length();
            key.append(reinterpret_cast<const char*>(&size), sizeof size);
        }
    }
    return key;
}

}  // namespace

ShapeCache::~ShapeCache() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

Status ShapeCache::get(const std::vector<CheckedInput>& inputs, Deadline deadline, std::shared_ptr<CompiledShape>& out) {
    const std::string key = shapes_key(inputs);
    std::unique_lock lock(mutex_);
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry)
        if (entry->key == key) {
            entries_.splice(entries_.begin(), entries_, entry);
            out = entries_.front().compiled;
            hits_.store(hits_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
            return {};
        }
    if (const Status* const refused = refusal(key); refused != nullptr) return *refused;
    if (waiting_ >= most_waiting_)
        return {Code::kResourceExhausted, std::to_string(waiting_) +
                                              " requests wait already for the model to be compiled for other shapes "
                                              "(\"max_queue\" in the model's configuration)"};
    const std::shared_ptr<Job> job = job_for(key, inputs);
    if (job == nullptr)
        return {Code::kResourceExhausted, "too many new shapes at once: " + std::to_string(kMostQueued) +
                                              " wait to be compiled; \"compiled_shapes\": 0 would need no compiling"};
    ++job->waiting;
    ++waiting_;
    const auto done = [&] { return job->done; };
    if (deadline == Deadline::max()) changed_.wait(lock, done);
    else changed_.wait_until(lock, deadline, done);
    --job->waiting;
    --waiting_;
    if (!job->done) return {Code::kDeadlineExceeded, "the model could not be compiled for this shape within the deadline"};
    out = job->compiled;
    return job->status;
}

std::shared_ptr<ShapeCache::Job> ShapeCache::job_for(const std::string& key, const std::vector<CheckedInput>& inputs) {
    if (current_ != nullptr && current_->key == key) return current_;
    for (const std::shared_ptr<Job>& job : queue_)
        if (job->key == key) return job;
    // Those whose clients have all left are not worth a place that somebody else wants.
    if (queue_.size() >= kMostQueued)
        std::erase_if(queue_, [](const std::shared_ptr<Job>& job) { return job->waiting == 0; });
    if (queue_.size() >= kMostQueued) return nullptr;
    auto job = std::make_shared<Job>();
    job->key = key;
    job->shapes = partial_shapes(inputs);
    if (!thread_.joinable()) thread_ = std::thread(&ShapeCache::work, this);
    queue_.push_back(job);
    changed_.notify_all();
    return job;
}

const Status* ShapeCache::refusal(const std::string& key) const {
    for (const auto& [refused, status] : refused_)
        if (refused == key) return &status;
    return nullptr;
}

void ShapeCache::take_turns(bool on) {
    const std::lock_guard lock(mutex_);
    turns_ = on;
    for (Entry& entry : entries_) entry.compiled->pool.take_turns(on);
}

void ShapeCache::put(const std::vector<ov::PartialShape>& shapes, std::shared_ptr<CompiledShape> compiled) {
    std::list<Entry> out_of_use;
    const std::lock_guard lock(mutex_);
    keep(key_of(shapes), std::move(compiled), out_of_use);
}

void ShapeCache::keep(std::string key, std::shared_ptr<CompiledShape> compiled, std::list<Entry>& out_of_use) {
    compiled->pool.take_turns(turns_);
    entries_.push_front({std::move(key), std::move(compiled)});
    if (entries_.size() > most_) out_of_use.splice(out_of_use.begin(), entries_, std::prev(entries_.end()));
}

void ShapeCache::work() {
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
        if (stopping_) return;
        // One that somebody waits for. The others come after: a next client may be in a hurry, too, and find it done.
        auto next = std::find_if(queue_.begin(), queue_.end(), [](const auto& queued) { return queued->waiting != 0; });
        if (next == queue_.end()) next = queue_.begin();
        const std::shared_ptr<Job> job = *next;
        queue_.erase(next);
        current_ = job;
        lock.unlock();
        std::shared_ptr<CompiledShape> compiled;
        Status status = compile_(job->shapes, compiled);
        std::list<Entry> out_of_use;
        lock.lock();
        if (status.ok()) {
            keep(job->key, compiled, out_of_use);
        } else if (status.code == Code::kInvalidArgument) {
            refused_.emplace_back(job->key, status);
            if (refused_.size() > kMostRefused) refused_.pop_front();
        }
        job->status = std::move(status);
        job->compiled = std::move(compiled);
        job->done = true;
        current_ = nullptr;
        changed_.notify_all();
        lock.unlock();
        if (!out_of_use.empty()) {
            const GiveBackFreed giving_back;
            out_of_use.clear();  // if no request uses it any more, its memory goes now
        }
        lock.lock();
    }
}

}  // namespace ovms
