#include "tfs_json_codec.hpp"

#include "tfs_json_response.hpp"

namespace ovms {

Status TfsJsonCodec::parse(ModelKey& key) {
    key = key_;  // the body is read once it is known what it is to become
    return {};
}

Status TfsJsonCodec::check(const Signature& signature, std::vector<CheckedInput>& inputs, std::vector<size_t>& outputs) {
    if (Status status = request_.read(body_, size_, signature.inputs); !status.ok()) return status;
    inputs.assign(signature.inputs.size(), {});
    tensors_.resize(signature.inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
        JsonTensor& values = request_.tensor(i);
        tensors_[i].dims = values.dims();
        tensors_[i].content = values.content();
        const DType dtype = signature.inputs[i].dtype;
        inputs[i] = {&tensors_[i], dtype, values.count(), dtype == DType::kString ? values.strings() : nullptr};
        if (Status status = check_shape(signature, i, tensors_[i].dims); !status.ok()) return status;
        // Everything behind this line trusts the shape.
        if (uint64_t elements = 0; !element_count(tensors_[i].dims, elements) || elements != values.count())
            return {Code::kInternal, "input " + quote_name(signature.inputs[i].name) + ": shape and values differ"};
    }
    for (size_t i = 0; i < signature.outputs.size(); ++i) outputs.push_back(i);
    return {};
}

Status TfsJsonCodec::pack(const std::vector<OutputView>& outputs, std::string_view, int64_t, const ByteSink& sink) {
    return pack_tfs_json(outputs, request_.row(), sink);
}

Status predict_tfs_json(const Registry& registry, const ModelKey& key, const uint8_t* body, size_t size,
                        const Caller& caller, const ByteSink& sink, Trace* trace) {
    thread_local TfsJsonCodec codec;  // so that a warm thread reads into memory that it has
    codec.start(key, body, size);
    Status status = predict(registry, codec, caller, sink, trace);
    codec.release();
    return status;
}

}  // namespace ovms
