// One OpenVINO infer request and what belongs to it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <openvino/runtime/infer_request.hpp>
#include <vector>

#include "deadline.hpp"

namespace ovms {

class DynamicGraph;

// After so many runs usual_run says something: it starts at zero and rises slowly.
inline constexpr uint32_t kRunsToKnow = 16;

// A run on the calling thread saves the hand-over to OpenVINO's own threads, some 20 us. But several callers can then
// meet on one stream while another one idles, and a stream's memory follows them from core to core. For runs that take
// longer than this the hand-over is the cheaper of the two.
inline constexpr auto kLongRun = std::chrono::milliseconds(1);

// What an infer request writes an output to.
enum class OutputMemory : uint8_t {
    kUntried,  // its own tensor, as it was born with
    kOwn,      // its own tensor
    kPlaced,   // the memory of an answer, which may have gone since
    kFixed,    // its own tensor; it takes no other
};

// A slot's turn in a RunQueue, whose lock guards it.
struct Turn {
    enum class State : uint8_t { kNone, kReady, kRunning, kRefused, kFailed };

    State state = State::kNone;
    Deadline deadline = Deadline::max();
    const std::atomic<bool>* left = nullptr;
    std::exception_ptr error;  // it could not be started
    std::condition_variable changed;
    bool told = false;  // the infer request has the callback that tells of its end
};

// One OpenVINO execution slot, with the tensors it was born with.
struct InferSlot {
    ov::InferRequest request;
    std::vector<ov::Tensor> own_inputs;   // buffers of the slot, for inputs that have to be copied
    std::vector<uint64_t> string_bytes;     // by input: bytes of strings that own_inputs was given since it was made
    std::vector<uint8_t> own_is_unknown;    // by input: 1: the request has yet to be given own_inputs, which it does not read
    std::vector<ov::Tensor> own_outputs;    // empty until an output was first written elsewhere
    std::vector<OutputMemory> output_memory;  // by output
    Clock::duration usual_run{0};           // how long its runs take, short ones counting most
    bool spare = false;                     // one of those that get ready while others run
    uint32_t runs = 0;                      // how many there were, up to kRunsToKnow
    uint32_t generation = 0;                // of the graph the request runs on, see DynamicGraph
    DynamicGraph* graph = nullptr;          // is told of a failed run before another one starts
    uint64_t began = 0;                     // in ticks: the last run
    uint64_t ended = 0;
    Turn turn;
};

}  // namespace ovms
