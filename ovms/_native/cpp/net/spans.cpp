#include "spans.hpp"

#include <algorithm>
#include <chrono>
#include <random>

#include "../ticks.hpp"

namespace ovms::net {
namespace {

using namespace std::string_view_literals;

// Asked again and again by machines, or no call at all: a trace of them would hide the others.
constexpr std::array kNotTraced = {"refused"sv, "Check"sv, "Watch"sv, "ServerLive"sv, "ServerReady"sv, "ModelReady"sv};

constexpr size_t kVersion = 2, kTrace = 32, kSpan = 16, kFlags = 2;  // digits
constexpr size_t kLength = kVersion + 1 + kTrace + 1 + kSpan + 1 + kFlags;

// Small letters only, as the standard has them.
bool read_hex(std::string_view digits, uint64_t& value) {
    value = 0;
    for (const char digit : digits) {
        if (digit >= '0' && digit <= '9') value = value << 4 | static_cast<uint64_t>(digit - '0');
        else if (digit >= 'a' && digit <= 'f') value = value << 4 | static_cast<uint64_t>(digit - 'a' + 10);
        else return false;
    }
    return true;
}

}  // namespace

void TraceParent::read(std::string_view text) {
    const bool again = seen;
    *this = {};
    seen = true;
    if (again || text.size() < kLength || text[2] != '-' || text[35] != '-' || text[52] != '-') return;
    TraceParent found;
    uint64_t version = 0, flags = 0;
    if (!read_hex(text.substr(0, kVersion), version) || !read_hex(text.substr(3, 16), found.trace_high) ||
        !read_hex(text.substr(19, 16), found.trace_low) || !read_hex(text.substr(36, kSpan), found.span) ||
        !read_hex(text.substr(53, kFlags), flags))
        return;
    constexpr uint64_t kNoVersion = 0xff;
    // Later versions may have more behind it.
    if (version == kNoVersion || (text.size() > kLength && (version == 0 || text[kLength] != '-'))) return;
    if ((found.trace_high == 0 && found.trace_low == 0) || found.span == 0) return;
    found.sampled = (flags & 1) != 0;
    found.seen = true;
    *this = found;
}

Spans::Spans(const SamplerSettings& sampler, size_t capacity)
    : sampler_(sampler), nanoseconds_per_tick_(nanoseconds_per_tick()), slots_(std::max<size_t>(capacity, 1)) {
    std::random_device device;
    seed_ = uint64_t{device()} << 32 | device();
}

// SplitMix64. Ids have to differ, not to be secret. Never 0, which is no id.
uint64_t Spans::random() {
    uint64_t value = 0;
    while (value == 0) {
        value = seed_ += 0x9e3779b97f4a7c15;
        value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
        value = (value ^ value >> 27) * 0x94d049bb133111eb;
        value ^= value >> 31;
    }
    return value;
}

bool Spans::samples(const TraceParent& parent, uint64_t trace_low) const {
    if (sampler_.parent_based && parent.span != 0) return parent.sampled;
    return sampler_.all || trace_low < sampler_.below;
}

void Spans::record(const CallEnd& end, const CallTicks& ticks, const TraceParent& parent) {
    const bool continues = parent.span != 0;
    const uint64_t trace_low = continues ? parent.trace_low : random();
    if (!samples(parent, trace_low)) return;
    if (end.model == nullptr && std::find(kNotTraced.begin(), kNotTraced.end(), end.method) != kNotTraced.end()) return;
    const size_t written = written_.load(std::memory_order_relaxed);
    if (written - taken_.load(std::memory_order_acquire) >= slots_.size()) {
        dropped_.store(dropped_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        return;
    }
    Span& span = slots_[written % slots_.size()];
    span.trace_high = continues ? parent.trace_high : random();
    span.trace_low = trace_low;
    span.id = random();
    span.parent = parent.span;
    const auto since = [&](uint64_t tick) {
        return tick > ticks.first ? static_cast<uint64_t>(static_cast<double>(tick - ticks.first) * nanoseconds_per_tick_) : 0;
    };
    span.whole = since(ticks.whole);
    span.infer = since(ticks.infer);
    span.inferred = since(ticks.inferred);
    span.done = since(ticks.done);
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    span.began = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count() - static_cast<int64_t>(span.done);
    span.code = end.code;
    span.http_status = end.http_status;
    span.method = end.method;  // what a slot has taken for a text it keeps for the next one
    span.model.clear();
    span.version = 0;
    if (end.model != nullptr) {
        span.model = end.model->name();
        span.version = end.model->version();
    }
    written_.store(written + 1, std::memory_order_release);
}

void Spans::take(std::vector<Span>& out) {
    const size_t written = written_.load(std::memory_order_acquire);
    size_t taken = taken_.load(std::memory_order_relaxed);
    for (; taken != written; ++taken) {
        out.push_back(slots_[taken % slots_.size()]);
        taken_.store(taken + 1, std::memory_order_release);
    }
}

}  // namespace ovms::net
