#include "call.hpp"

#include <algorithm>
#include <new>
#include <thread>
#include <utility>

namespace ovms::net {
namespace {

// What an I/O thread computes itself. Handing a call to another thread and back costs some 20 us: longer runs are worth it
// when others wait, or when they would keep the thread from its connections.
constexpr auto kLongestAlone = std::chrono::microseconds(200);
constexpr auto kLongestAmongOthers = std::chrono::microseconds(100);

constexpr size_t kMostPackedHere = 32 << 10;  // bytes that an I/O thread packs or unpacks itself, which takes some 100 us
constexpr auto kLookForMemory = std::chrono::milliseconds(10);

}  // namespace

void Call::renew() {
    packing_ = Packing::kNone;
    deadline_ = Deadline::max();
    ticks_ = {};
    run_ = {};
    parent_ = {};
    step_ = Step::kUnpack;
}

void Call::unpack_message() {
    if (packing_ == Packing::kNone) return on_unpacked(Unpacked::kOk);
    // A few bytes can become many: what takes long is for another thread.
    if (body_.size() <= kMostPackedHere && unpack(kMostPackedHere)) return on_unpacked(unpacked_);
    if (!queue(Step::kUnpack)) on_crowded();
}

// False: the message has more bytes than the limit, though not more than any may have.
bool Call::unpack(size_t limit) {
    Body whole;
    unpacked_ = net::unpack(packing_, body_.data(), body_.size(), std::min(limit, most_unpacked_), whole, why_);
    if (unpacked_ == Unpacked::kOk) body_ = std::move(whole);
    return unpacked_ != Unpacked::kTooLarge || limit >= most_unpacked_;
}

Caller Call::caller() {
    Caller caller;
    caller.deadline = deadline_;
    caller.model = &model;
    caller.run = &run_;
    return caller;
}

void Call::predict(bool here, bool others) {
    Caller own = caller();
    own.inline_only = true;
    if (here) own.longest_run = others ? kLongestAmongOthers : kLongestAlone;
    Status status = predict_now(own);
    if (status.code == Code::kPostponed) {
        if (queue(Step::kPredict)) return;
        status = queue_is_full(*model, model->pool().max_queue());
    }
    connection().loop().answered();
    set_result(std::move(status));
    on_predicted();
}

bool Call::packs_elsewhere(size_t size) {
    if (!wants_packed()) return false;
    if (size > kMostPackedHere) return step_ != Step::kPack && queue(Step::kPack);
    pack_answer();
    return false;
}

// Has another thread do something for the call, before its deadline; false if as many calls wait as may.
bool Call::queue(Step step) {
    std::shared_ptr<Call> me = shared_call();
    step_ = step;
    if (deadline_ != Deadline::max()) {
        alarmed_ = true;
        alarm_ = connection().loop().at(deadline_, [me] {
            me->alarmed_ = false;
            me->connection().attempt([&] { me->out_of_time(); });
        });
    }
    queued_ = scheduler_.submit(std::move(me));
    if (!queued_) forget_alarm();
    return queued_;
}

void Call::compute() {
    const Step step = step_;
    try {
        if (step == Step::kUnpack) {
            unpack(most_unpacked_);
        } else {
            if (step == Step::kPredict) {
                Caller own = caller();
                own.left = &left_;
                set_result(predict_now(own));
            }
            if (wants_packed()) pack_answer();
        }
    } catch (const std::bad_alloc&) {
        unpacked_ = Unpacked::kOutOfMemory;
        set_out_of_memory();
    }
    while (true) {
        try {
            connection().loop().post([me = shared_call(), step] {
                me->connection().attempt([&] {
                    me->computed(step);
                    me->send_answer();
                });
            });
            return;
        } catch (const std::bad_alloc&) {
            // The client waits to be told, for which there has to be memory some time.
            std::this_thread::sleep_for(kLookForMemory);
        }
    }
}

void Call::computed(Step step) {
    queued_ = false;
    forget_alarm();
    if (step != Step::kUnpack) on_predicted();
    else if (!client_has_gone()) on_unpacked(unpacked_);
}

void Call::out_of_time() {
    if (!queued_ || !scheduler_.withdraw(*this)) return;  // else it is about to find out by itself
    queued_ = false;
    if (step_ == Step::kPredict) {
        set_result(none_became_free(*model));
        on_predicted();
    } else {
        on_late();
    }
    send_answer();
}

void Call::leave() {
    left_.store(true, std::memory_order_relaxed);
    forget_alarm();
    if (queued_ && scheduler_.withdraw(*this)) queued_ = false;
    if (queued_) return;  // another thread reads it
    body_.clear();
    model = {};
}

void Call::forget_alarm() {
    if (alarmed_) connection().loop().forget(alarm_);
    alarmed_ = false;
}

}  // namespace ovms::net
