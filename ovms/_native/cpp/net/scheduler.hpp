// Calls that an I/O thread cannot answer on the spot: a queue for each model, and threads that compute.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "../model.hpp"

namespace ovms::net {

class Job {
public:
    virtual ~Job() = default;

    // Runs the call; on a thread that may wait and compute.
    virtual void compute() = 0;

    ModelPin model;  // whose call it is, set before it is submitted; none for work without a model

private:
    friend class Scheduler;
    std::list<std::shared_ptr<Job>>::iterator place_;
    bool waiting_ = false;
};

// Per model first come, first served; models take turns. A model has at most one thread more than infer requests, or as
// many more as may get one ready while others compute. So a slow model's calls never keep those of others from a thread. Work without
// a model has a queue of its own.
class Scheduler {
public:
    // threads: the most there may be; all but the first are made when they are needed.
    explicit Scheduler(size_t threads) : most_threads_(threads) {}
    // Never started, or after a stop that was true.
    ~Scheduler() = default;

    // Before the first job. std::system_error if the system gives no thread.
    void start();

    // False: as many calls of the model wait as may. A job is its submitter's again once compute has returned.
    bool submit(std::shared_ptr<Job> job);

    // True: the job still waited, and will not be computed.
    bool withdraw(Job& job);

    // How many calls of a model wait here.
    size_t waiting(const std::string& name, int64_t version);

    // Ends the threads, once what they compute is done; what waits is dropped. False: some still compute at the deadline,
    // and use this object until they have ended.
    [[nodiscard]] bool stop(Deadline deadline);

private:
    struct Queue {
        std::list<std::shared_ptr<Job>> waiting;
        uint32_t running = 0;
        bool offered = false;  // is in turns_
    };

    void offer(Model* model, Queue& queue);
    void forget_if_empty(Model* model, const Queue& queue);
    void make_thread();
    void run();

    const size_t most_threads_;
    std::mutex mutex_;
    std::condition_variable work_;
    std::condition_variable ended_;
    std::unordered_map<Model*, Queue> queues_;  // of models that have calls here; null: of none
    std::deque<Model*> turns_;                  // models with a call that may run
    size_t threads_ = 0;  // that have not ended; none is joined, as one may compute for longer than anybody waits
    size_t idle_ = 0;
    bool stopping_ = false;
};

}  // namespace ovms::net
