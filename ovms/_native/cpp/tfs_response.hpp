// Outputs -> the bytes of a tensorflow.serving.PredictResponse: a size pass, then one write pass.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "output_view.hpp"
#include "status.hpp"

namespace ovms {

// Each tensor by the rule of TensorFlow's make_tensor_proto: tensor_content for more than one element of the plain
// dtypes, the dtype's typed list otherwise (and always with typed_lists: AppendArrayToTensorProto's rule).
// Outputs keep their order; then comes model_spec with the version that answered and "serving_default".
Status pack_predict_response(const std::vector<OutputView>& outputs, std::string_view model_name, int64_t version,
                             bool typed_lists, const ByteSink& sink);

// The same answer but for the values, of outputs that have none yet, in memory of the sink's allocate_early: each output is
// told the place of its values, and a large one's is aligned. Does nothing unless all of them go as tensor_content.
Status lay_out_predict_response(std::vector<OutputView>& outputs, std::string_view model_name, int64_t version, const ByteSink& sink);

// Copies the values that the model has not written to their places itself.
void fill_predict_response(const std::vector<OutputView>& outputs);

// One TensorProto on its own, for tests and benchmarks.
Status pack_tensor(const OutputView& output, bool typed_lists, const ByteSink& sink);

}  // namespace ovms
