// A model as read -> the model that is compiled: preprocessing folded in, shapes set.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>
#include <string>
#include <vector>

#include "load_options.hpp"
#include "signature.hpp"
#include "status.hpp"

namespace ovms {

// A tensor may have several names, in no stable order; the shortest, then the first by alphabet, is the same every
// time. A tensor without any goes by its node's.
std::string tensor_name(const ov::Output<const ov::Node>& port, bool is_input);

// Puts the steps into the model. Shapes are what clients send from then on. FAILED_PRECONDITION for a name the model
// does not have, INVALID_ARGUMENT for steps that do not fit; both say which.
Status fold_preprocessing(std::shared_ptr<ov::Model>& model, const LoadOptions& options);

// What requests may choose, by input.
struct FreeShape {
    ShapeRule rule = ShapeRule::kModel;
    std::vector<ov::Dimension> allowed;  // the dimensions, dynamic where requests may choose
};

// Gives the model the shapes of options. Inputs that are left to the requests stay as they are; what they allow is
// told in free.
Status set_shapes(ov::Model& model, const LoadOptions& options, std::vector<FreeShape>& free);

// Makes those inputs dynamic; false, and the model as it was, if the model does not take that.
bool make_dynamic(ov::Model& model, const std::vector<FreeShape>& free);

}  // namespace ovms
