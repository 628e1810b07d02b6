#include "tfs_proto_codec.hpp"

#include <algorithm>
#include <string>

namespace ovms {
namespace {

Status unexpected_names(const Signature& signature, const PredictRequestRef& request) {
    std::vector<std::string_view> names;
    for (const NamedTensorRef& input : request.inputs) names.push_back(input.name);
    return invalid_argument("input tensor alias not found in signature: " + name_list(names) +
                            ". Inputs expected to be in the set {" + name_list(signature.inputs) + "}.");
}

Status missing_inputs(const Signature& signature, const std::vector<CheckedInput>& inputs) {
    std::vector<std::string_view> names;
    for (size_t i = 0; i < inputs.size(); ++i)
        if (inputs[i].tensor == nullptr) names.push_back(signature.inputs[i].name);
    return invalid_argument("missing inputs: " + name_list(names) + ". Inputs expected to be in the set {" +
                            name_list(signature.inputs) + "}.");
}

// A peer can claim any shape in a few bytes. What it claims is taken up to 64 MiB, or 16 times what it has sent (one
// byte of a typed list may become a float64, and a list may repeat its last value), never more than 1 GiB.
uint64_t largest_tensor(size_t message) {
    return std::min(kLargestTensor, std::max<uint64_t>(uint64_t{64} << 20, uint64_t{16} * message));
}

// One tensor's dtype and shape against the signature
Status check_input(const Signature& signature, size_t index, bool strict_dtypes, size_t message, CheckedInput& checked) {
    const TensorSpec& spec = signature.inputs[index];
    const TensorRef& tensor = *checked.tensor;
    const DTypeInfo* sent = from_tf(tensor.tf_dtype);
    const DTypeInfo& wanted = info(spec.dtype);
    const std::string_view wanted_name = wanted.tf_name;
    if (sent == nullptr)
        return invalid_argument("input " + quote_name(spec.name) + ": dtype " + std::to_string(tensor.tf_dtype) +
                                " is not supported; expected " + std::string(wanted_name));
    const bool mixed = (sent->dtype == DType::kString) != (wanted.dtype == DType::kString);
    if (sent->dtype != wanted.dtype && (strict_dtypes || mixed))
        return invalid_argument("input " + quote_name(spec.name) + ": dtype " + std::string(sent->tf_name) +
                                " does not match the model's; expected " + std::string(wanted_name));
    checked.dtype = sent->dtype;
    if (!element_count(tensor.dims, checked.count))
        return invalid_argument("input " + quote_name(spec.name) + ": shape " + tensor.dims.text() +
                                " has a negative size, more than 16 dimensions or too many elements");
    const size_t element = wanted.dtype == DType::kString ? sizeof(std::string) : wanted.size;
    if (checked.count > largest_tensor(message) / element)
        return invalid_argument("input " + quote_name(spec.name) + ": shape " + tensor.dims.text() + " takes more than " +
                                std::to_string(largest_tensor(message) >> 20) + " MiB, the limit for a request of " +
                                std::to_string(message) + " bytes");
    return check_shape(signature, index, tensor.dims);
}

// The outputs asked for, as indices into the signature's.
Status select_outputs(const Signature& signature, const PredictRequestRef& request, std::vector<size_t>& order) {
    for (const std::string_view name : request.output_filter) {
        const size_t index = find_tensor(signature.outputs, name);
        if (index == kNoTensor)
            return invalid_argument("output_filter: output not found in signature: " + quote_name(name) +
                                    ". Outputs expected to be in the set {" + name_list(signature.outputs) + "}.");
        for (const size_t taken : order)
            if (taken == index) return invalid_argument("output_filter: " + quote_name(name) + " is there twice");
        order.push_back(index);
    }
    if (request.output_filter.empty())
        for (size_t i = 0; i < signature.outputs.size(); ++i) order.push_back(i);
    return {};
}

}  // namespace

Status TfsProtoCodec::parse(ModelKey& key) {
    if (size_ == 0) return invalid_argument("Missing ModelSpec: the request is empty");
    WireError error;
    if (!parse_predict_request(data_, size_, request_, error))
        return invalid_argument("PredictRequest cannot be parsed: " + error.text());
    const ModelSpecRef& spec = request_.model_spec;
    key = {spec.name, spec.has_version ? spec.version : 0, spec.label, spec.has_label};
    return {};
}

Status TfsProtoCodec::check(const Signature& signature, std::vector<CheckedInput>& inputs, std::vector<size_t>& outputs) {
    inputs.assign(signature.inputs.size(), {});
    for (const NamedTensorRef& input : request_.inputs) {
        const size_t index = find_tensor(signature.inputs, input.name);
        if (index == kNoTensor) return unexpected_names(signature, request_);
        inputs[index].tensor = &input.tensor;  // of a repeated name the last one counts
    }
    for (const CheckedInput& input : inputs)
        if (input.tensor == nullptr) return missing_inputs(signature, inputs);
    for (size_t i = 0; i < inputs.size(); ++i)
        if (Status status = check_input(signature, i, options_.strict_dtypes, size_, inputs[i]); !status.ok()) return status;
    return select_outputs(signature, request_, outputs);
}

Status TfsProtoCodec::lay_out(std::vector<OutputView>& outputs, std::string_view name, int64_t version, const ByteSink& sink) {
    if (options_.typed_lists) return {};
    return lay_out_predict_response(outputs, name, version, sink);
}

Status TfsProtoCodec::pack(const std::vector<OutputView>& outputs, std::string_view name, int64_t version, const ByteSink& sink) {
    if (!outputs.empty() && outputs.front().place != nullptr) {
        fill_predict_response(outputs);
        return {};
    }
    return pack_predict_response(outputs, name, version, options_.typed_lists, sink);
}

Status predict_tfs_proto(const Registry& registry, const uint8_t* data, size_t size, const PredictOptions& options,
                         const Caller& caller, const ByteSink& sink, Trace* trace) {
    thread_local TfsProtoCodec codec;  // so that a warm thread allocates nothing; bounded by kMaxEntries
    codec.start(data, size, options);
    Status status = predict(registry, codec, caller, sink, trace);
    codec.clear();
    return status;
}

}  // namespace ovms
