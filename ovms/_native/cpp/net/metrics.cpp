#include "metrics.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <string_view>
#include <tuple>

#include "../ticks.hpp"

namespace ovms::net {
namespace {

// Only one thread writes: no need for an atomic addition.
void increase(std::atomic<uint64_t>& value, uint64_t more) {
    value.store(value.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

void add_up(std::atomic<uint64_t>& sum, const std::atomic<uint64_t>& part) {
    increase(sum, part.load(std::memory_order_relaxed));
}

void add_up(Histogram& sum, const Histogram& part) {
    for (size_t i = 0; i < part.counts.size(); ++i) add_up(sum.counts[i], part.counts[i]);
    add_up(sum.nanoseconds, part.nanoseconds);
}

void add_up(Series& sum, const Series& part) {
    for (size_t i = 0; i < part.calls.size(); ++i) add_up(sum.calls[i], part.calls[i]);
    add_up(sum.total, part.total);
    add_up(sum.receive, part.receive);
    add_up(sum.queue, part.queue);
    add_up(sum.infer, part.infer);
    add_up(sum.pack, part.pack);
}

// What tells series apart; as long as the series lives.
using Key = std::tuple<std::string_view, int64_t, Interface, std::string_view>;

Key key(const Series& of) { return {of.model, of.version, of.interface, of.method}; }

bool same(const Series& a, const Series& b) { return key(a) == key(b); }

}  // namespace

void Histogram::add(uint64_t duration) {
    const int bits = std::bit_width(duration);
    const size_t bucket = bits <= kFirstBit ? 0 : std::min<size_t>(static_cast<size_t>(bits - kFirstBit), kBuckets - 1);
    increase(counts[bucket], 1);
    increase(nanoseconds, duration);
}

double Metrics::measure() { return ovms::nanoseconds_per_tick(); }

void Metrics::count_predict(Interface interface, const Model* model, int code, const CallTicks& ticks) {
    const uint64_t id = (model == nullptr ? 0 : model->id()) << 1 | static_cast<uint64_t>(interface);
    const auto found = predictions_.find(id);
    Series& counted = found != predictions_.end() ? *found->second : series(id, model, interface, "Predict");
    const auto duration = [this](uint64_t from, uint64_t to) {
        return to > from ? static_cast<uint64_t>(static_cast<double>(to - from) * nanoseconds_per_tick_) : 0;
    };
    increase(counted.calls[static_cast<size_t>(code) < Series::kCodes ? static_cast<size_t>(code) : 2], 1);
    counted.total.add(duration(ticks.first, ticks.done));
    counted.receive.add(duration(ticks.first, ticks.whole));
    if (ticks.inferred == 0) return;
    counted.queue.add(duration(ticks.whole, ticks.infer));
    counted.infer.add(duration(ticks.infer, ticks.inferred));
    counted.pack.add(duration(ticks.inferred, ticks.done));
}

void Metrics::count_other(Interface interface, std::string_view method, int code, const CallTicks& ticks) {
    std::string name(method);
    name += static_cast<char>(interface);
    const auto found = others_.find(name);
    Series* counted = found == others_.end() ? nullptr : found->second;
    if (counted == nullptr) {
        const std::lock_guard lock(mutex_);
        auto made = std::make_unique<Series>();
        made->interface = interface;
        made->method = method;
        counted = others_[std::move(name)] = all_.emplace_back(std::move(made)).get();
    }
    increase(counted->calls[static_cast<size_t>(code) < Series::kCodes ? static_cast<size_t>(code) : 2], 1);
    const double passed = static_cast<double>(ticks.done - ticks.first) * nanoseconds_per_tick_;
    counted->total.add(ticks.done > ticks.first ? static_cast<uint64_t>(passed) : 0);
}

Series& Metrics::series(uint64_t id, const Model* model, Interface interface, std::string_view method) {
    const std::lock_guard lock(mutex_);
    if (predictions_.size() >= kMostSeries) predictions_.clear();  // every load of a model has an id of its own
    auto made = std::make_unique<Series>();
    made->interface = interface;
    made->method = method;
    if (model != nullptr) {
        made->model = model->name();
        made->version = model->version();
    }
    // A version that was loaded again goes on where it was, and so do those for which there is no more room.
    for (const auto& one : all_)
        if (same(*one, *made)) return *(predictions_[id] = one.get());
    if (all_.size() >= kMostSeries) {
        made->model = "(others)";
        made->version = 0;
        for (const auto& one : all_)
            if (same(*one, *made)) return *(predictions_[id] = one.get());
    }
    return *(predictions_[id] = all_.emplace_back(std::move(made)).get());
}

void Metrics::add_to(std::vector<std::unique_ptr<Series>>& sums) const {
    // The lock is waited for by an I/O thread that is to make a series: with thousands of them there is no time to search.
    std::map<Key, Series*> known;
    for (const auto& sum : sums) known.emplace(key(*sum), sum.get());
    const std::lock_guard lock(mutex_);
    for (const auto& part : all_) {
        auto sum = known.find(key(*part));
        if (sum == known.end()) {
            auto made = std::make_unique<Series>();
            made->model = part->model;
            made->version = part->version;
            made->interface = part->interface;
            made->method = part->method;
            sum = known.emplace(key(*made), made.get()).first;
            sums.push_back(std::move(made));
        }
        add_up(*sum->second, *part);
    }
}

}  // namespace ovms::net
