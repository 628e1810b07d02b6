#include "busy_poll.hpp"

#include <algorithm>

namespace ovms::net {
namespace {

constexpr double kWindow = 100;     // microseconds, as the next two
constexpr double kSoon = 150;       // until something comes again; it includes being woken up
constexpr double kDisturbed = 50;   // between two looks: others want this core
constexpr double kActive = 1000;    // since something came: its other calls may come any moment
constexpr int kEnough = 8;          // times in a row
constexpr int kBackOff = 100;       // times after a disturbance
constexpr uint32_t kFewCalls = 8;   // at a time; with more there is always one to compute
constexpr uint32_t kFewPieces = 2;  // that a call comes in; large ones take longer than waking up does

}  // namespace

LastHeard::LastHeard(size_t threads) : threads_(threads), most_(std::max<size_t>(1, threads / 2)) {}

bool LastHeard::leaves_room(size_t thread, uint64_t since) const {
    size_t active = 1;
    for (size_t i = 0; i < threads_.size(); ++i) active += i != thread && threads_[i].at.load(std::memory_order_relaxed) > since;
    return active <= most_;
}

BusyPoll::BusyPoll(std::chrono::microseconds how_long, LastHeard& last_heard, size_t thread)
    : last_heard_(last_heard), thread_(thread), as_it_pays_(how_long == kAsItPays), per_tick_(nanoseconds_per_tick() / 1e3),
      window_(as_it_pays_ ? kWindow : static_cast<double>(how_long.count())) {}

bool BusyPoll::looks() {
    if (heard_ == 0) {
        if (looking_) look_on();
        return looking_;
    }
    const uint64_t end = ticks_now();
    if (as_it_pays_) judge(end);
    else looking_ = true;
    heard_ = answered_ = 0;
    idle_since_ = last_look_ = end;
    last_heard_.note(thread_, end);
    return looking_;
}

// Nothing came.
void BusyPoll::look_on() {
    const uint64_t looked = ticks_now();
    const bool disturbed = as_it_pays_ && static_cast<double>(looked - last_look_) * per_tick_ > kDisturbed;
    if (disturbed || static_cast<double>(looked - idle_since_) * per_tick_ > window_) {
        stop();
        if (disturbed) in_a_row_ = -kBackOff;
    }
    last_look_ = looked;
}

void BusyPoll::stop() {
    looking_ = false;
    in_a_row_ = std::min(in_a_row_, 0);
}

void BusyPoll::judge(uint64_t end) {
    pieces_ += heard_;
    if (answered_ == 0) {  // a part of a call, what HTTP/2 has besides, or what other threads have computed
        if (pieces_ > kFewPieces * kFewCalls) stop();
        return;
    }
    const bool soon = static_cast<double>(first_heard_ - idle_since_) * per_tick_ < kSoon;
    const bool pays = soon && answered_ <= kFewCalls && pieces_ <= kFewPieces * answered_;
    pieces_ = 0;
    if (pays && in_a_row_ < kEnough) ++in_a_row_;
    else if (!pays && in_a_row_ > 0) in_a_row_ = 0;
    looking_ = in_a_row_ >= kEnough && last_heard_.leaves_room(thread_, end - static_cast<uint64_t>(kActive / per_tick_));
}

}  // namespace ovms::net
