// A port that speaks REST, over HTTP/1.1 and over HTTP/2 with prior knowledge: what its requests have in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "call_port.hpp"

namespace ovms::net {

struct RestSettings {
    size_t max_body = size_t{1} << 30;  // bytes of a request's body
    double timeout_seconds = 0;         // of a prediction that says nothing of it; 0: any time
    double read_seconds = 30;           // for a request to arrive, or an answer to be taken, besides a second for each MiB
    bool metrics = true;                // calls are counted
    bool predict_in_python = false;     // predictions are cold calls as well, for whoever wants to see each step
    bool cors = false;                  // pages of other origins may ask: what has an Origin is Python's
    int max_connections = 0;            // 0: any number
    bool any_origin = false;            // all of them may
    std::unordered_set<std::string> origins;  // those that may

    // Whether answers depend on the Origin.
    bool vary_origin() const { return cors && !any_origin; }
};

class RestPort final : public CallPort {
public:
    static constexpr size_t kMebibyte = size_t{1} << 20;

    RestPort(const DataPlane& plane, Scheduler& scheduler, ColdQueue& cold, const RestSettings& settings)
        : CallPort(plane, scheduler, cold), settings(settings) {}

    std::unique_ptr<Session> open_session(Connection& connection, std::string_view first) override;
    std::shared_ptr<Http2Stream> open(Http2Session& session, int32_t id) override;
    std::string_view name() const override { return "REST"; }
    uint64_t patience() const override { return 75'000; }  // longer than load balancers keep a connection: a minute
    std::vector<std::string> protocols() const override { return {"h2", "http/1.1"}; }
    uint64_t time_to_take(size_t bytes) const override;
    bool answers_the_last() const override { return true; }

    const RestSettings settings;
};

}  // namespace ovms::net
