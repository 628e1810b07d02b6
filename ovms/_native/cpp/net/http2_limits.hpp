// What a connection of HTTP/2 may cost.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ovms::net {

constexpr uint32_t kMostStreams = 1024;              // of one connection at a time; others wait at the client
constexpr uint32_t kStreamWindow = 4 << 20;          // bytes of a request that may be on their way
constexpr int32_t kConnectionWindow = 16 << 20;      // of all requests of a connection
constexpr size_t kMostHeaders = 64 << 10;            // bytes of one request's headers
constexpr size_t kMostUnsent = 512 << 10;            // bytes that are put together for one write
constexpr int64_t kMostAnswers = int64_t{64} << 20;  // bytes of answers that a client may leave unread before its calls wait
constexpr size_t kMostQueued = 2 * kMostStreams;     // frames that a client may leave unread before it is not read any more
constexpr uint32_t kPatience = 20;                   // seconds until the client has to have said that it speaks HTTP/2
constexpr uint32_t kStuck = 60;                      // seconds that a request may stay half, or an answer half taken

// Frames that only cost: so many at once, and each second a tenth of that; every answer earns some. Clients that measure
// the connection ping for every answer they get.
constexpr int32_t kNuisances = 2'000;
constexpr int32_t kEarned = 4;
// Requests that the client takes back, as it has to when its deadlines are short.
constexpr int32_t kResets = 50'000;
constexpr int32_t kResetsPerSecond = 10'000;

}  // namespace ovms::net
