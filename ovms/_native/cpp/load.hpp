// A model file -> a Model that can be published.
#pragma once

#include <cstdint>
#include <memory>
#include <openvino/runtime/core.hpp>
#include <string>

#include "load_options.hpp"
#include "model.hpp"
#include "status.hpp"

namespace ovms {

// Reads, sets up and compiles the model at path (any format OpenVINO reads) and makes its infer requests. Errors carry
// OpenVINO's own words. Takes from milliseconds to minutes.
Status load_model(ov::Core& core, const std::string& name, int64_t version, const std::string& path,
                  const LoadOptions& options, std::shared_ptr<Model>& out);

// A core for models of the server: reads a model's weights into memory instead of mapping their file, because a file
// that somebody writes to or cuts off while it is mapped ends the process.
void prepare_core(ov::Core& core, const std::string& cache_folder, const std::string& extension);

// OpenVINO's release and build.
std::string openvino_version_text();

}  // namespace ovms
