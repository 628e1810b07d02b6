// One call, whatever its protocol, from the moment its message is whole: unpacked, computed, and its answer packed.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "../predict.hpp"
#include "../ticks.hpp"
#include "answer.hpp"
#include "body.hpp"
#include "connection.hpp"
#include "io_loop.hpp"
#include "metrics.hpp"
#include "packing.hpp"
#include "scheduler.hpp"
#include "spans.hpp"

namespace ovms::net {

// Each of the three steps is done by the thread of the call's loop if it takes next to no time, else by one of the
// scheduler's. All but compute and left is for the loop's thread; while a step is queued, what the call works on belongs to
// the thread that does it.
class Call : public Job {
public:
    // From any thread: whether the client has gone.
    bool left() const { return left_.load(std::memory_order_relaxed); }

    void compute() final;

protected:
    static constexpr size_t kLeastPacked = 1024;  // bytes up to which an answer is not worth compressing

    // most_unpacked: bytes that a packed message may unpack to.
    Call(Scheduler& scheduler, size_t most_unpacked) : scheduler_(scheduler), most_unpacked_(most_unpacked) {}

    // For an object that serves one call after another: nothing of the last one counts.
    void renew();
    // The message is whole, packed as packing_ says: on_unpacked follows.
    void unpack_message();
    // Computes the answer: on_predicted follows. here: whether this thread may; others: whether other calls wait for it.
    void predict(bool here, bool others);
    // Whether the answer, of so many bytes, is being packed by another thread, so that on_predicted follows once more; if not,
    // it is packed, unless nobody wants it so.
    bool packs_elsewhere(size_t size);
    // The client has gone.
    void leave();

    // Of the protocol:
    virtual std::shared_ptr<Call> shared_call() = 0;
    virtual Connection& connection() = 0;
    virtual bool client_has_gone() const = 0;
    virtual Status predict_now(const Caller& caller) = 0;
    virtual void set_result(Status status) = 0;
    virtual void set_out_of_memory() noexcept = 0;
    virtual bool wants_packed() const = 0;
    virtual void pack_answer() = 0;
    virtual void on_unpacked(Unpacked result) = 0;
    // set_result tells the outcome.
    virtual void on_predicted() = 0;
    // A step's turn did not come within the deadline.
    virtual void on_late() = 0;
    // No other thread has room for the message.
    virtual void on_crowded() = 0;
    // After what another thread, or an alarm, brought about.
    virtual void send_answer() {}

    Packing packing_ = Packing::kNone;  // of the message
    Body body_;
    Deadline deadline_ = Deadline::max();
    std::string why_;  // it could not be unpacked
    CallTicks ticks_{};
    RunTicks run_{};
    TraceParent parent_{};
    Answer computed_;

private:
    enum class Step : uint8_t { kUnpack, kPredict, kPack };

    bool unpack(size_t limit);
    bool queue(Step step);
    void computed(Step step);
    void out_of_time();
    void forget_alarm();
    Caller caller();

    Scheduler& scheduler_;
    const size_t most_unpacked_;
    std::atomic<bool> left_{false};
    bool queued_ = false;
    bool alarmed_ = false;
    Step step_ = Step::kUnpack;
    Unpacked unpacked_ = Unpacked::kOk;
    IoLoop::DeadlineKey alarm_{};
};

}  // namespace ovms::net
