// API keys: which there are, what each allows, and finding the one that a request brings.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ovms::net {

// What a call needs a key for; the bits of ApiKey::scopes. ovms/access/keys.py has the same numbers.
enum class Scope : uint8_t { kOpen = 0, kPredict = 1, kAdmin = 2, kMetrics = 4, kAnyKey = kPredict | kAdmin | kMetrics };

using KeyDigest = std::array<uint8_t, 32>;  // SHA-256

// When the next request is due, in nanoseconds of the clock: see rate.hpp.
using Due = std::atomic<int64_t>;

struct ApiKey {
    std::string name;
    KeyDigest digest{};
    uint8_t scopes = 0;
    std::shared_ptr<Due> due;

    bool allows(Scope scope) const { return (scopes & static_cast<uint8_t>(scope)) != 0; }
};

// Never changed once it is made: another file of keys is another set.
class KeySet {
public:
    static constexpr size_t kLongest = 512;  // bytes of a key; what is longer is none

    // A key that stands in before, under its name, keeps its due.
    KeySet(std::vector<ApiKey> keys, const KeySet* before);

    // Null: there is no such key. Without memory of its own.
    const ApiKey* find(std::string_view presented) const;

private:
    std::vector<ApiKey> keys_;  // by digest
};

// The last good key of a connection: for the next request that brings it, nothing is hashed.
class LastKey {
public:
    LastKey() = default;
    ~LastKey();
    LastKey(const LastKey&) = delete;
    LastKey& operator=(const LastKey&) = delete;

    // As KeySet::find; null without a set, too. Holds until the next call.
    const ApiKey* find(const std::shared_ptr<const KeySet>& keys, std::string_view presented);

private:
    void forget();

    std::shared_ptr<const KeySet> keys_;  // that key_ is of
    const ApiKey* key_ = nullptr;
    std::string text_;
};

}  // namespace ovms::net
