// Models that are too small to share among threads.
#pragma once

#include <openvino/core/model.hpp>

namespace ovms {

// Whether a run of the model, of static shapes, is known to be so short that a second thread costs more than it saves: of
// each operation the elements read or written, or the multiplications, are added up. False if there is an operation whose
// work cannot be told from its shapes.
bool is_small(const ov::Model& model);

}  // namespace ovms
