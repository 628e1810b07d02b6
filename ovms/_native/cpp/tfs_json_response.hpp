// Outputs -> the body of a TensorFlow Serving REST predict response.
#pragma once

#include <vector>

#include "output_view.hpp"
#include "status.hpp"

namespace ovms {

// Column form: {"outputs": ...}, row form (row): {"predictions": [...]}; one output without its name, several by name.
// Numbers as number_text.hpp spells them, bool as true and false. Strings as strings; as {"b64": "..."} all those of an
// output whose name ends in "_bytes", and those that are not UTF-8. INVALID_ARGUMENT for the row form if the outputs
// have no dimension 0 of one size. The sink gets an upper bound of the size first, and then shrink.
Status pack_tfs_json(const std::vector<OutputView>& outputs, bool row, const ByteSink& sink);

// One tensor on its own, as nested arrays (for tests and benchmarks).
Status pack_json_tensor(const OutputView& output, const ByteSink& sink);

}  // namespace ovms
