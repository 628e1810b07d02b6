// tensorflow.serving.PredictRequest and PredictResponse on the predict path.
#pragma once

#include <cstddef>
#include <cstdint>

#include "predict.hpp"
#include "tfs_request.hpp"
#include "tfs_response.hpp"

namespace ovms {

struct PredictOptions {
    bool typed_lists = false;    // outputs as typed lists, never as tensor_content
    bool strict_dtypes = false;  // refuse an input whose dtype is not the model's, instead of converting it
};

class TfsProtoCodec final : public PredictCodec {
public:
    void start(const uint8_t* data, size_t size, const PredictOptions& options) {
        data_ = data;
        size_ = size;
        options_ = options;
    }
    void clear() { request_.clear(); }  // it points into the data

    Status parse(ModelKey& key) override;
    Status check(const Signature& signature, std::vector<CheckedInput>& inputs, std::vector<size_t>& outputs) override;
    Status lay_out(std::vector<OutputView>& outputs, std::string_view name, int64_t version, const ByteSink& sink) override;
    Status pack(const std::vector<OutputView>& outputs, std::string_view name, int64_t version, const ByteSink& sink) override;

private:
    const uint8_t* data_ = nullptr;
    size_t size_ = 0;
    PredictOptions options_;
    PredictRequestRef request_;
};

// Answers one tensorflow.serving.PredictRequest. data must stay as it is until the call returns: large tensors are
// read where they stand. See predict().
Status predict_tfs_proto(const Registry& registry, const uint8_t* data, size_t size, const PredictOptions& options,
                         const Caller& caller, const ByteSink& sink, Trace* trace = nullptr);

}  // namespace ovms
