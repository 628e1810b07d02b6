// The predict path: a request in, an answer out, in whatever encoding.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "bind.hpp"
#include "infer_pool.hpp"
#include "output_view.hpp"
#include "registry.hpp"
#include "signature.hpp"
#include "status.hpp"

namespace ovms {

// When the model's run began and ended, in ticks.
struct RunTicks {
    uint64_t began = 0;
    uint64_t ended = 0;
};

// Who waits for the answer, and how long.
struct Caller {
    Deadline deadline = Deadline::max();
    const std::atomic<bool>* left = nullptr;  // set once the client has gone, if anybody watches it

    // For a thread that has others to serve: predict answers kPostponed, after it has put the model that is asked for into
    // *model, if it would have to wait for anything, or compute for longer than this.
    bool inline_only = false;
    Clock::duration longest_run{0};

    // Gets the model that was found, for whoever sets it: to keep for a call that was postponed, whose second try then
    // uses it without looking again, and to be let go once the call is counted.
    ModelPin* model = nullptr;

    RunTicks* run = nullptr;
};

// An API in one encoding: what of the predict path depends on it. One object serves one call at a time.
class PredictCodec {
public:
    virtual ~PredictCodec() = default;

    // Which model is asked for. Views in key have to stay until the call ends.
    virtual Status parse(ModelKey& key) = 0;

    // The request's tensors against the signature: inputs in its order, and the outputs asked for as indices into its
    // outputs (outputs is empty before). What inputs points to has to stay until the call ends.
    virtual Status check(const Signature& signature, std::vector<CheckedInput>& inputs, std::vector<size_t>& outputs) = 0;

    // Allocates an answer whose size is known before the run, writes what of it is known, and tells each output's place; or
    // does nothing. outputs have no data yet. After it, and the run, pack has to find the same outputs.
    virtual Status lay_out(std::vector<OutputView>&, std::string_view /*name*/, int64_t /*version*/, const ByteSink&) { return {}; }

    // The answer of this model's version.
    virtual Status pack(const std::vector<OutputView>& outputs, std::string_view name, int64_t version, const ByteSink& sink) = 0;
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

// What a call is told that has to wait for an infer request, and may not, or did so for too long.
inline Status queue_is_full(const Model& model, size_t max_queue) {
    return {Code::kResourceExhausted, "the queue of model " + quote_name(model.name()) + " version " + std::to_string(model.version()) +
                                          " is full: " + std::to_string(max_queue) +
                                          " requests wait already (\"max_queue\" in the model's configuration)"};
}
inline Status none_became_free(const Model& model) {
    return {Code::kDeadlineExceeded, "no infer request of model " + quote_name(model.name()) + " version " +
                                         std::to_string(model.version()) + " became free within the deadline"};
}

inline double milliseconds_between(const Clock::time_point& from, const Clock::time_point& to) {
    return std::chrono::duration<double, std::milli>(to - from).count();
}

// Answers the request that the codec holds; the answer is written to memory from sink. Blocks while no infer request is
// free, at most until the caller's deadline; a caller who left meanwhile gets no run. trace: null unless somebody wants
// to know.
Status predict(const Registry& registry, PredictCodec& codec, const Caller& caller, const ByteSink& sink, Trace* trace);

}  // namespace ovms
