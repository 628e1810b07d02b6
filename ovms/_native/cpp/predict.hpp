// The predict path: bytes of a request in, bytes of an answer out.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "infer_pool.hpp"
#include "registry.hpp"
#include "status.hpp"
#include "tfs_response.hpp"

namespace ovms {

// Who waits for the answer, and how long.
struct Caller {
    Deadline deadline = Deadline::max();
    const std::atomic<bool>* left = nullptr;  // set once the client has gone, if anybody watches it
};

struct PredictOptions {
    bool typed_lists = false;    // outputs as typed lists, never as tensor_content
    bool strict_dtypes = false;  // refuse an input whose dtype is not the model's, instead of converting it
};

// When the steps of one call were done, for a log. Only what was reached is set.
struct Trace {
    Clock::time_point began{};
    Clock::time_point checked{};  // parsed, and right for the model
    Clock::time_point leased{};
    Clock::time_point bound{};
    Clock::time_point inferred{};
    Clock::time_point packed{};
    std::shared_ptr<const Model> model;  // who answered
};

inline double milliseconds_between(const Clock::time_point& from, const Clock::time_point& to) {
    return std::chrono::duration<double, std::milli>(to - from).count();
}

// Answers one tensorflow.serving.PredictRequest. data must stay as it is until the call returns: large tensors are
// read where they stand. The answer is written to memory from sink. Blocks while no infer request is free, at most
// until the caller's deadline; a caller who left meanwhile gets no run. trace: null unless somebody wants to know.
Status predict(const Registry& registry, const uint8_t* data, size_t size, const Caller& caller,
               const PredictOptions& options, const ByteSink& sink, Trace* trace = nullptr);

}  // namespace ovms
