// What the configuration says about one model.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ovms {

inline constexpr int64_t kBatchAuto = -1;
inline constexpr size_t kNoLimit = static_cast<size_t>(-1);

// What is done to one input before the model's first operation, see model_setup.hpp. Empty: nothing.
struct Preprocessing {
    std::string layout;        // "NHWC:NCHW", what clients send and what the model takes; or one of them
    std::string precision;     // OpenVINO's name of what clients send
    std::string color_format;  // "BGR:RGB", likewise
    std::vector<float> mean;   // one value, or one for each channel
    std::vector<float> scale;
};

struct LoadOptions {
    std::string device = "CPU";
    std::map<std::string, std::string> config;        // OpenVINO properties, as text
    std::map<std::string, std::string> config_if_small;  // and these instead of them, for a small_model.hpp
    uint32_t nireq = 0;                                // 0: OpenVINO's optimal number
    size_t max_queue = kNoLimit;                       // requests that may wait for an infer request
    std::map<std::string, std::string> input_names;   // model tensor name -> public name
    std::map<std::string, std::string> output_names;
    // The next two by model tensor name; the empty name means the only input.
    std::map<std::string, std::string> shapes;        // "auto", or a shape in OpenVINO's words
    std::map<std::string, Preprocessing> preprocessing;
    int64_t batch = 0;                                 // 0: the model's own; kBatchAuto: any
    uint32_t compiled_shapes = 0;                      // 0: auto makes dimensions dynamic; else: how many shapes stay compiled
};

}  // namespace ovms
