// How often: limits on requests per second, by key or by address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "../deadline.hpp"
#include "keys.hpp"

namespace ovms::net {

// A token bucket that is one number, when the bucket would be full again (the "generic cell rate algorithm"). It holds the
// requests of one second, at least one.
class Rate {
public:
    // 0: no limit.
    explicit Rate(double per_second);

    bool limits() const { return interval_ != 0; }
    // Whether one more request may pass at this time, which then counts. From any thread.
    bool take(Due& due, int64_t now) const;

private:
    int64_t interval_ = 0;  // nanoseconds from request to request
    int64_t ahead_ = 0;     // that a bucket may lack of being full
};

// Buckets for every address there is in a fixed number of places. Two addresses may share one; each has two, and is refused
// only if both are empty, so that a client that asks too often hardly ever takes another one with it. Which share a place,
// nobody can know.
class AddressRates {
public:
    explicit AddressRates(const Rate& rate);

    // Where an address has its buckets; of IPv6 the network of 64 bits counts, as whoever has one has all of it. All that is
    // no address, as on a Unix socket, is one.
    uint64_t place(std::string_view address) const;
    bool take(uint64_t place, int64_t now);

private:
    static constexpr size_t kPlaces = size_t{1} << 16;

    const Rate rate_;
    const uint64_t seed_;
    std::unique_ptr<Due[]> due_;
};

inline int64_t rate_clock() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count();
}

}  // namespace ovms::net
