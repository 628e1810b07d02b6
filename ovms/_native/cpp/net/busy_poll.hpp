// For how long an I/O thread looks for more before it sleeps.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../ticks.hpp"

namespace ovms::net {

// When each of the I/O threads last heard something, in ticks. A thread that looks is in the way of others that have work:
// where more than half of several threads had some just now, none begins to look.
class LastHeard {
public:
    explicit LastHeard(size_t threads);

    // Once for each turn of a loop: the thread writes what nobody else does, and others read it seldom.
    void note(size_t thread, uint64_t ticks) { threads_[thread].at.store(ticks, std::memory_order_relaxed); }
    // Whether so few threads other than this one have heard something since then.
    bool leaves_room(size_t thread, uint64_t since) const;

private:
    struct alignas(64) Thread {
        std::atomic<uint64_t> at{0};
    };
    std::vector<Thread> threads_;
    const size_t most_;
};

// To be woken up takes longer than a small call, and to look takes a core. With a fixed time the thread looks so long after
// whatever it has heard. As it pays: up to 100 us, between small calls of clients that ask again as soon as they are
// answered, once it has seen them do so several times in a row. What comes in crowds, late or in many pieces is slept for as
// ever, and so it is on a core that others want.
class BusyPoll {
public:
    static constexpr std::chrono::microseconds kAsItPays{-1};  // as for how long

    // thread: which one of those that share last_heard.
    BusyPoll(std::chrono::microseconds how_long, LastHeard& last_heard, size_t thread);

    bool never() const { return window_ == 0; }

    // Something has come.
    void heard() {
        if (heard_++ == 0) first_heard_ = ticks_now();
    }
    // A call was computed and answered at once.
    void answered() { ++answered_; }

    // Whether the loop's next turn looks instead of sleeping. Before each turn.
    bool looks();

private:
    void look_on();
    void judge(uint64_t end);
    void stop();

    LastHeard& last_heard_;
    const size_t thread_;
    const bool as_it_pays_;
    const double per_tick_;   // microseconds
    const double window_;     // microseconds
    bool looking_ = false;
    int in_a_row_ = 0;        // times that it would have paid; negative: so many more before it is tried again
    uint32_t heard_ = 0;      // in this turn
    uint32_t answered_ = 0;   // in this turn
    uint32_t pieces_ = 0;     // heard since the last answer
    uint64_t first_heard_ = 0;  // of this turn; in ticks, as the next
    uint64_t idle_since_ = 0;   // the end of the last turn in which something was heard
    uint64_t last_look_ = 0;
};

}  // namespace ovms::net
