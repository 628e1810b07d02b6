// A port whose connections bring calls: what these have in common, whatever their protocol.
#pragma once

#include <atomic>
#include <cstddef>

#include "cold_calls.hpp"
#include "data_plane.hpp"
#include "gate.hpp"
#include "http2_session.hpp"
#include "port.hpp"
#include "scheduler.hpp"

namespace ovms::net {

class CallPort : public Port, public Http2Session::Streams {
public:
    CallPort(const DataPlane& plane, Scheduler& scheduler, ColdQueue& cold) : plane(plane), scheduler(scheduler), cold(cold) {}

    // Whether Python has as many of its calls as it may, open watches of health among them.
    bool python_is_full() const { return cold_calls.load(std::memory_order_relaxed) >= kMostCold; }

    const DataPlane& plane;
    Scheduler& scheduler;
    ColdQueue& cold;
    Gate* gate = nullptr;  // null: everybody is let in
    bool traced = false;   // sampled calls are recorded; set before the first connection
    std::atomic<size_t> cold_calls{0};  // that Python has, or will get

private:
    static constexpr size_t kMostCold = 16'384;
};

}  // namespace ovms::net
