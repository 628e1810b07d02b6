// What calls are counted by. Every I/O thread has counters of its own, which only it writes; who reads adds them up.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "../model.hpp"

namespace ovms::net {

enum class Interface : uint8_t { kGrpc, kRest };

// Durations by powers of two: bucket i has those of less than 2^(i + kFirstBit) ns that are in no lower one; the last
// one has all others.
struct Histogram {
    static constexpr int kFirstBit = 10;  // the lowest bucket: up to about a microsecond
    static constexpr size_t kBuckets = 28;  // the highest bound: 2^36 ns, over a minute

    std::array<std::atomic<uint64_t>, kBuckets> counts{};
    std::atomic<uint64_t> nanoseconds{0};

    void add(uint64_t duration);
};

// When a call came to its steps, in ticks; 0: it did not.
struct CallTicks {
    uint64_t first = 0;   // the first bytes of the request
    uint64_t whole = 0;   // the last ones
    uint64_t infer = 0;
    uint64_t inferred = 0;
    uint64_t done = 0;    // the answer is packed
};

// The counters of one model's calls by one interface and method, on one thread.
struct Series {
    std::string model;
    int64_t version = 0;
    Interface interface = Interface::kGrpc;
    std::string method;

    static constexpr size_t kCodes = 17;  // google.rpc.Code
    std::array<std::atomic<uint64_t>, kCodes> calls{};
    Histogram total, receive, queue, infer, pack;
};

inline bool is_rest(const Series& series) { return series.interface == Interface::kRest; }
inline uint64_t calls_of(const Series& series, size_t code) { return series.calls[code].load(); }
inline uint64_t count_of(const Histogram& histogram, size_t bucket) { return histogram.counts[bucket].load(); }

class Metrics {
public:
    // On its thread. A prediction that has found its model, or has not (null).
    void count_predict(Interface interface, const Model* model, int code, const CallTicks& ticks);
    // Another call; of its steps only the first and the last are known.
    void count_other(Interface interface, std::string_view method, int code, const CallTicks& ticks);

    // From any thread: adds what was counted so far to sums, in which a series stands once.
    void add_to(std::vector<std::unique_ptr<Series>>& sums) const;

private:
    Series& series(uint64_t model_id, const Model* model, Interface interface, std::string_view method);

    static constexpr size_t kMostSeries = 4096;  // models and versions that come and go have no end

    const double nanoseconds_per_tick_ = measure();
    static double measure();
    mutable std::mutex mutex_;  // of all_, which grows with the first call of a model
    std::vector<std::unique_ptr<Series>> all_;
    std::unordered_map<uint64_t, Series*> predictions_;  // by model and interface
    std::unordered_map<std::string, Series*> others_;
};

}  // namespace ovms::net
