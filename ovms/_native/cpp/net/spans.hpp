// Sampled calls, for distributed traces: each I/O thread writes what it has sampled into a ring of its own, from which one
// other thread takes it. Nothing of this exists unless traces were asked for.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "metrics.hpp"

namespace ovms::net {

// What the client says of the trace that its call belongs to. https://www.w3.org/TR/trace-context/
struct TraceParent {
    uint64_t trace_high = 0;
    uint64_t trace_low = 0;
    uint64_t span = 0;  // the client's; 0: nothing was said, or nothing that can be understood
    bool sampled = false;
    bool seen = false;

    // The header's text. One that came before makes both void.
    void read(std::string_view text);
};

// Which calls are recorded, as OpenTelemetry's samplers decide: all, or those whose trace id's lower half is below a bound.
struct SamplerSettings {
    bool parent_based = true;  // a call of a trace is recorded if its client records it
    bool all = true;
    uint64_t below = 0;
};

// One call. Times are nanoseconds: of the epoch, and since the beginning; 0: the call did not come so far.
struct Span {
    uint64_t trace_high = 0;
    uint64_t trace_low = 0;
    uint64_t id = 0;
    uint64_t parent = 0;  // 0: the call began the trace
    int64_t began = 0;
    uint64_t whole = 0;
    uint64_t infer = 0;
    uint64_t inferred = 0;
    uint64_t done = 0;
    int code = 0;         // google.rpc.Code
    int http_status = 0;  // 0: gRPC
    std::string method;
    std::string model;    // empty: of none
    int64_t version = 0;
};

// What is known of a call at its end.
struct CallEnd {
    std::string_view method;
    const Model* model = nullptr;
    int code = 0;
    int http_status = 0;
};

// One thread writes, one other takes: no lock.
class Spans {
public:
    // capacity: how many calls may wait to be taken; further ones are dropped, and counted.
    Spans(const SamplerSettings& sampler, size_t capacity);

    // On its thread: a call that has ended.
    void record(const CallEnd& end, const CallTicks& ticks, const TraceParent& parent);

    // On any other thread, one at a time: appends what was recorded since the last time.
    void take(std::vector<Span>& out);
    // From any thread.
    uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

private:
    uint64_t random();
    bool samples(const TraceParent& parent, uint64_t trace_low) const;

    const SamplerSettings sampler_;
    const double nanoseconds_per_tick_;
    uint64_t seed_;
    std::vector<Span> slots_;
    std::atomic<size_t> written_{0};
    std::atomic<size_t> taken_{0};
    std::atomic<uint64_t> dropped_{0};
};

}  // namespace ovms::net
