// A port that speaks gRPC: what its calls have in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "call_port.hpp"

namespace ovms::net {

struct GrpcSettings {
    PredictOptions predict;
    size_t max_message = size_t{1} << 30;
    bool metrics = true;                         // calls are counted
    bool predict_in_python = false;             // predictions are cold calls as well, for whoever wants to see each step
    std::unordered_set<std::string> cold_paths;  // the calls that Python answers
    std::unordered_set<std::string> open_paths;  // those of them that need no key
    std::unordered_set<std::string> admin_paths;
    int max_connections = 0;                     // 0: any number
};

class GrpcPort final : public CallPort {
public:
    GrpcPort(const DataPlane& plane, Scheduler& scheduler, ColdQueue& cold, GrpcSettings settings)
        : CallPort(plane, scheduler, cold), settings(std::move(settings)) {}

    std::unique_ptr<Session> open_session(Connection& connection, std::string_view first) override;
    std::string_view name() const override { return "gRPC"; }
    uint64_t patience() const override { return 20'000; }
    std::vector<std::string> protocols() const override { return {"h2"}; }
    std::shared_ptr<Http2Stream> open(Http2Session& session, int32_t id) override;

    const GrpcSettings settings;
};

}  // namespace ovms::net
