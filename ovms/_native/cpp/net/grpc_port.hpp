// A port that speaks gRPC: what its calls have in common.
#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_set>

#include "cold_calls.hpp"
#include "data_plane.hpp"
#include "http2_session.hpp"
#include "port.hpp"
#include "scheduler.hpp"

namespace ovms::net {

struct GrpcSettings {
    PredictOptions predict;
    size_t max_message = size_t{1} << 30;
    bool metrics = true;                         // calls are counted
    bool predict_in_python = false;             // predictions are cold calls as well, for whoever wants to see each step
    std::unordered_set<std::string> cold_paths;  // the calls that Python answers
};

class GrpcPort final : public Port, public Http2Session::Streams {
public:
    GrpcPort(const DataPlane& plane, Scheduler& scheduler, ColdQueue& cold, GrpcSettings settings)
        : plane(plane), scheduler(scheduler), cold(cold), settings(std::move(settings)) {}

    std::unique_ptr<Session> open_session(Connection& connection, std::string_view first) override;
    uint64_t patience() const override { return 20'000; }
    std::shared_ptr<Http2Stream> open(Http2Session& session, int32_t id) override;

    const DataPlane& plane;
    Scheduler& scheduler;
    ColdQueue& cold;
    const GrpcSettings settings;
    std::atomic<size_t> cold_calls{0};  // that Python has, or will get
};

}  // namespace ovms::net
