// The predict path: bytes of a request in, bytes of an answer out.
#pragma once

#include <cstddef>
#include <cstdint>

#include "infer_pool.hpp"
#include "registry.hpp"
#include "status.hpp"
#include "tfs_response.hpp"

namespace ovms {

struct PredictOptions {
    bool typed_lists = false;    // outputs as typed lists, never as tensor_content
    bool strict_dtypes = false;  // refuse an input whose dtype is not the model's, instead of converting it
};

// Answers one tensorflow.serving.PredictRequest. data must stay as it is until the call returns: large tensors are
// read where they stand. The answer is written to memory from sink. Blocks while no infer request is free, at most
// until deadline.
Status predict(const Registry& registry, const uint8_t* data, size_t size, Deadline deadline,
               const PredictOptions& options, const ByteSink& sink);

}  // namespace ovms
