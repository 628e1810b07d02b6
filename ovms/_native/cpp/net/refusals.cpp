#include "refusals.hpp"

#include "rate.hpp"

namespace ovms::net {
namespace {

constexpr int64_t kBetweenLines = 1'000'000'000;  // nanoseconds

std::string_view words(Refused why) {
    switch (why) {
        case Refused::kNoKey: return "no API key";
        case Refused::kWrongKey: return "a wrong API key";
        case Refused::kScope: return "an API key that does not allow the call";
        case Refused::kRate: return "too many requests per second";
        case Refused::kConnections: return "too many connections";
        case Refused::kNot: break;
    }
    return "";
}

}  // namespace

bool Refusals::count(Refused why, uint64_t& unsaid) {
    counts_[static_cast<size_t>(why)].fetch_add(1, std::memory_order_relaxed);
    unsaid_.fetch_add(1, std::memory_order_relaxed);
    const int64_t now = rate_clock();
    int64_t until = quiet_until_.load(std::memory_order_relaxed);
    if (now < until || !quiet_until_.compare_exchange_strong(until, now + kBetweenLines, std::memory_order_relaxed)) return false;
    unsaid = unsaid_.exchange(0, std::memory_order_relaxed);
    return true;
}

std::string refusal_line(std::string_view interface, std::string_view peer, Refused why, uint64_t unsaid) {
    std::string line(interface);
    ((line += ": ") += peer.empty() ? "a client of the Unix socket" : peer) += " was refused: ";
    (((line += words(why)) += " (") += std::to_string(unsaid)) += unsaid == 1 ? " refusal" : " refusals";
    return line += " since the last such line)";
}

}  // namespace ovms::net
