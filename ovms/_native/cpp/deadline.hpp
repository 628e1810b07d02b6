// Points in time that somebody waits until.
#pragma once

#include <algorithm>
#include <chrono>

namespace ovms {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;  // Deadline::max(): none

// The point in time seconds from now; no deadline if seconds is negative, not a number, or over a century.
inline Deadline deadline_after(double seconds) {
    if (!(seconds >= 0 && seconds < 3.2e9)) return Deadline::max();
    return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// Seconds until then, at least 0; -1 without a deadline.
inline double seconds_left(Deadline deadline) {
    if (deadline == Deadline::max()) return -1;
    return std::max(0.0, std::chrono::duration<double>(deadline - Clock::now()).count());
}

}  // namespace ovms
