// What an answer is made of, and where it goes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dtype.hpp"
#include "tensor_ref.hpp"

namespace ovms {

// Where an answer is written to. Memory is asked for once; nullptr means out of memory. The size is exact, unless the
// answer's codec says otherwise: then shrink follows, with a size that is not larger.
struct ByteSink {
    uint8_t* (*allocate)(void* context, size_t size);
    void (*shrink)(void* context, size_t size);
    void* context;

    // In place of allocate, before the model runs, for an answer whose byte number aligned shall lie at a multiple of 64. A
    // sink that has it puts up with an answer that is never finished.
    uint8_t* (*allocate_early)(void* context, size_t size, size_t aligned) = nullptr;
};

// One output as it stands in memory, until the lease of its infer request ends.
struct OutputView {
    std::string_view name;
    DType dtype = DType::kF32;
    Dims dims;
    uint64_t count = 0;
    const void* data = nullptr;  // count elements; for strings count std::string
    uint8_t* place = nullptr;    // where the values belong in an answer that was laid out before the run
};

}  // namespace ovms
