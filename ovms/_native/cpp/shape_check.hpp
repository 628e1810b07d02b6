// Whether a model can take inputs of these shapes, found out without running it.
#pragma once

#include <memory>
#include <mutex>
#include <openvino/core/model.hpp>
#include <shared_mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "bind.hpp"
#include "infer_slot.hpp"
#include "signature.hpp"
#include "status.hpp"

namespace ovms {

// Propagates shapes through a copy of the model that is never run.
class ShapeCheck {
public:
    explicit ShapeCheck(const ov::Model& model) : model_(model.clone()) {}

    // INVALID_ARGUMENT that names the inputs' shapes and repeats OpenVINO's words if they do not fit the model. Shapes
    // that were found good before cost a look-up; others the propagation, which is milliseconds.
    Status check(const Signature& signature, const std::vector<CheckedInput>& inputs, Deadline deadline);

private:
    Status propagate(const Signature& signature, const std::vector<CheckedInput>& inputs);

    std::shared_ptr<ov::Model> model_;
    std::timed_mutex propagating_;
    std::shared_mutex known_mutex_;
    std::unordered_set<std::string> known_;  // shapes found good, as bytes
};

// The inputs' shapes as bytes, for a look-up.
std::string shapes_key(const std::vector<CheckedInput>& inputs);

// The inputs' shapes as OpenVINO's, in the order of the signature.
std::vector<ov::PartialShape> partial_shapes(const std::vector<CheckedInput>& inputs);

}  // namespace ovms
