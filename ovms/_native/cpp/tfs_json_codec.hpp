// TensorFlow Serving's REST predict request and response on the predict path.
#pragma once

#include <cstddef>
#include <cstdint>

#include "predict.hpp"
#include "tfs_json_request.hpp"

namespace ovms {

class TfsJsonCodec final : public PredictCodec {
public:
    void start(const ModelKey& key, const uint8_t* body, size_t size) {
        key_ = key;
        body_ = body;
        size_ = size;
    }
    void release() { request_.release(); }

    Status parse(ModelKey& key) override;
    Status check(const Signature& signature, std::vector<CheckedInput>& inputs, std::vector<size_t>& outputs) override;
    Status pack(const std::vector<OutputView>& outputs, std::string_view name, int64_t version, const ByteSink& sink) override;

private:
    ModelKey key_;
    const uint8_t* body_ = nullptr;
    size_t size_ = 0;
    TfsJsonRequest request_;
    std::vector<TensorRef> tensors_;
};

// Answers the body of a REST predict request for the model of key. body[size] must be readable, and zero. See predict().
Status predict_tfs_json(const Registry& registry, const ModelKey& key, const uint8_t* body, size_t size,
                        const Caller& caller, const ByteSink& sink, Trace* trace = nullptr);

}  // namespace ovms
