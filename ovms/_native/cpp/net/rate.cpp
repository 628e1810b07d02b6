#include "rate.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <string>

namespace ovms::net {
namespace {

constexpr double kSecond = 1e9;

uint64_t random_seed() {
    std::random_device device;
    return uint64_t{device()} << 32 | device();
}

// splitmix64: every bit of the result depends on every bit of the number.
uint64_t mixed(uint64_t number) {
    number += 0x9e3779b97f4a7c15;
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9;
    number = (number ^ (number >> 27)) * 0x94d049bb133111eb;
    return number ^ (number >> 31);
}

uint64_t number_of(std::string_view address) {
    const std::string text(address);
    std::array<uint8_t, sizeof(in6_addr)> bytes{};
    uint64_t number = 0;
    if (::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1) {
        std::memcpy(&number, bytes.data(), 4);
        return number;
    }
    if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) != 1) return ~uint64_t{0};
    constexpr std::array<uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};  // of IPv4
    const bool mapped = std::equal(kMapped.begin(), kMapped.end(), bytes.begin());
    std::memcpy(&number, bytes.data() + (mapped ? kMapped.size() : 0), mapped ? 4 : 8);
    return number;
}

}  // namespace

Rate::Rate(double per_second) {
    if (per_second <= 0) return;
    interval_ = std::max<int64_t>(1, static_cast<int64_t>(kSecond / per_second));
    ahead_ = std::max<int64_t>(interval_, static_cast<int64_t>(kSecond));
}

bool Rate::take(Due& due, int64_t now) const {
    int64_t known = due.load(std::memory_order_relaxed);
    while (true) {
        const int64_t next = std::max(known, now) + interval_;
        if (next - now > ahead_) return false;
        if (due.compare_exchange_weak(known, next, std::memory_order_relaxed)) return true;
    }
}

AddressRates::AddressRates(const Rate& rate)
    : rate_(rate), seed_(random_seed()), due_(rate.limits() ? std::make_unique<Due[]>(kPlaces) : nullptr) {}

uint64_t AddressRates::place(std::string_view address) const { return mixed(mixed(number_of(address)) ^ seed_); }

bool AddressRates::take(uint64_t place, int64_t now) {
    const bool one = rate_.take(due_[place % kPlaces], now);
    const bool other = rate_.take(due_[(place >> 32) % kPlaces], now);
    return one || other;
}

}  // namespace ovms::net
