// A model compiled apart for each shape that clients send: for models that do not take dynamic dimensions, or where that
// was asked for.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <openvino/runtime/core.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bind.hpp"
#include "infer_pool.hpp"
#include "status.hpp"

namespace ovms {

struct CompiledShape {
    ov::CompiledModel compiled;
    InferPool pool;  // freed before compiled
};

// Keeps the shapes used last, and what was wrong with those that could not be compiled. Shapes are compiled one after
// another on a thread of the cache's own, never on that of a request; who waits for one leaves at the deadline.
class ShapeCache {
public:
    using Compile = std::function<Status(const std::vector<ov::PartialShape>&, std::shared_ptr<CompiledShape>&)>;

    // most: how many shapes stay compiled, at least 1. most_waiting: how many requests may wait for a compilation. hits:
    // counts the requests that found their shape compiled.
    ShapeCache(size_t most, size_t most_waiting, Compile compile, std::atomic<uint64_t>& hits)
        : most_(most), most_waiting_(most_waiting), compile_(std::move(compile)), hits_(hits) {}
    ~ShapeCache();

    // The model for these shapes; waits until it is compiled, at most until deadline. RESOURCE_EXHAUSTED if too many
    // requests or other shapes wait for that.
    Status get(const std::vector<CheckedInput>& inputs, Deadline deadline, std::shared_ptr<CompiledShape>& out);

    // Puts in a shape that is compiled already.
    void put(const std::vector<ov::PartialShape>& shapes, std::shared_ptr<CompiledShape> compiled);

    // See InferPool; of every shape, those that are compiled later too.
    void take_turns(bool on);

private:
    struct Job {  // shared by the thread that compiles and by those who wait
        std::string key;
        std::vector<ov::PartialShape> shapes;
        uint32_t waiting = 0;
        bool done = false;
        Status status;
        std::shared_ptr<CompiledShape> compiled;
    };
    struct Entry {
        std::string key;
        std::shared_ptr<CompiledShape> compiled;
    };

    void work();
    const Status* refusal(const std::string& key) const;
    void keep(std::string key, std::shared_ptr<CompiledShape> compiled, std::list<Entry>& out_of_use);
    std::shared_ptr<Job> job_for(const std::string& key, const std::vector<CheckedInput>& inputs);

    const size_t most_;
    const size_t most_waiting_;
    const Compile compile_;
    std::atomic<uint64_t>& hits_;  // written under the lock
    // A lock on the hot path, held for a look-up among most_ entries.
    std::mutex mutex_;
    std::condition_variable changed_;
    std::list<Entry> entries_;  // the one used last stands first
    std::deque<std::pair<std::string, Status>> refused_;  // the newest stands last
    size_t waiting_ = 0;
    bool turns_ = false;
    std::deque<std::shared_ptr<Job>> queue_;
    std::shared_ptr<Job> current_;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace ovms
