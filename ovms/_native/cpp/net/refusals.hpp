// What a port refused, counted by why; and when the log hears of it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ovms::net {

enum class Refused : uint8_t { kNot, kNoKey, kWrongKey, kScope, kRate, kConnections };

class Refusals {
public:
    static constexpr size_t kReasons = 6;

    // From any thread. Whether a line for the log is due, about one a second; unsaid: what was counted since the last one.
    bool count(Refused why, uint64_t& unsaid);
    uint64_t of(size_t reason) const { return counts_[reason].load(std::memory_order_relaxed); }

private:
    std::array<std::atomic<uint64_t>, kReasons> counts_{};
    std::atomic<uint64_t> unsaid_{0};
    std::atomic<int64_t> quiet_until_{0};
};

// The line: "gRPC: 10.0.0.7 was refused: no API key (3 refusals since the last such line)".
std::string refusal_line(std::string_view interface, std::string_view peer, Refused why, uint64_t unsaid);

}  // namespace ovms::net
