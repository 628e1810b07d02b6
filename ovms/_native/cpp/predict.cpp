// parse - acquire - check - lease - bind - infer - pack: the only place where they stand in order.
#include "predict.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "bind.hpp"
#include "tfs_request.hpp"

namespace ovms {
namespace {

// What one call needs besides the request and the answer. Kept per thread, so that a call allocates nothing here once
// its thread is warm; bounded by kMaxEntries.
struct Workspace {
    PredictRequestRef request;
    std::vector<CheckedInput> inputs;   // by input of the signature
    std::vector<size_t> output_order;   // indices into the signature's outputs
    std::vector<OutputView> outputs;
};

Status parse(const uint8_t* data, size_t size, PredictRequestRef& request) {
    if (size == 0) return invalid_argument("Missing ModelSpec: the request is empty");
    WireError error;
    if (parse_predict_request(data, size, request, error)) return {};
    return invalid_argument("PredictRequest cannot be parsed: " + error.text());
}

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

// Names, dtypes and shapes against the signature; the outputs asked for.
Status check(const Signature& signature, bool strict_dtypes, size_t message, Workspace& work) {
    work.inputs.assign(signature.inputs.size(), {});
    for (const NamedTensorRef& input : work.request.inputs) {
        const size_t index = find_tensor(signature.inputs, input.name);
        if (index == kNoTensor) return unexpected_names(signature, work.request);
        work.inputs[index].tensor = &input.tensor;  // of a repeated name the last one counts
    }
    for (const CheckedInput& input : work.inputs)
        if (input.tensor == nullptr) return missing_inputs(signature, work.inputs);
    for (size_t i = 0; i < work.inputs.size(); ++i)
        if (Status status = check_input(signature, i, strict_dtypes, message, work.inputs[i]); !status.ok()) return status;

    work.output_order.clear();
    for (const std::string_view name : work.request.output_filter) {
        const size_t index = find_tensor(signature.outputs, name);
        if (index == kNoTensor)
            return invalid_argument("output_filter: output not found in signature: " + quote_name(name) +
                                    ". Outputs expected to be in the set {" + name_list(signature.outputs) + "}.");
        for (const size_t taken : work.output_order)
            if (taken == index) return invalid_argument("output_filter: " + quote_name(name) + " is there twice");
        work.output_order.push_back(index);
    }
    if (work.request.output_filter.empty())
        for (size_t i = 0; i < signature.outputs.size(); ++i) work.output_order.push_back(i);
    return {};
}

Status bind(const Signature& signature, const Workspace& work, InferSlot& slot) {
    for (size_t i = 0; i < work.inputs.size(); ++i)
        if (Status status = bind_input(signature, i, work.inputs[i], slot); !status.ok()) return status;
    return {};
}

// A run on the calling thread saves the hand-over to OpenVINO's own threads, some 20 us. But several callers can then
// meet on one stream while another one idles, and a stream's memory follows them from core to core. For runs that take
// longer than this the hand-over is the cheaper of the two.
constexpr auto kLongRun = std::chrono::milliseconds(1);

void run_where_cheapest(InferSlot& slot) {
    const Clock::time_point start = Clock::now();
    if (slot.usual_run < kLongRun) {
        slot.request.infer();
    } else {
        slot.request.start_async();
        slot.request.wait();
    }
    // Down at once, up slowly: a short run that was interrupted, or the first one, does not make a model long.
    const Clock::duration took = Clock::now() - start;
    slot.usual_run = took < slot.usual_run ? took : slot.usual_run + (took - slot.usual_run) / 64;
}

Status infer(InferSlot& slot) {
    try {
        run_where_cheapest(slot);
        return {};
    } catch (const std::exception& error) {
        // The code is ie_serving's: it is what a request wrong for its model gets.
        return invalid_argument(std::string("Error occurred during inference execution: ") + error.what());
    }
}

class BindAndInfer final : public DynamicGraph::Steps {
public:
    BindAndInfer(const Signature& signature, const Workspace& work, InferSlot& slot, Trace* trace)
        : signature_(signature), work_(work), slot_(slot), trace_(trace) {}

    Status bind() override {
        Status status = ovms::bind(signature_, work_, slot_);
        if (trace_ != nullptr) trace_->bound = Clock::now();
        return status;
    }
    Status infer() override {
        Status status = ovms::infer(slot_);
        if (trace_ != nullptr) trace_->inferred = Clock::now();
        return status;
    }
    Status both() {
        Status status = bind();
        return status.ok() ? infer() : status;
    }

private:
    const Signature& signature_;
    const Workspace& work_;
    InferSlot& slot_;
    Trace* const trace_;
};

Status view_outputs(const Signature& signature, Workspace& work, InferSlot& slot) {
    work.outputs.clear();
    for (const size_t index : work.output_order) {
        const ov::Tensor tensor = slot.request.get_output_tensor(index);
        OutputView& view = work.outputs.emplace_back();
        view.name = signature.outputs[index].name;
        view.dtype = signature.outputs[index].dtype;
        if (tensor.get_shape().size() > kMaxRank)
            return {Code::kInternal, "output " + quote_name(view.name) + " has more than 16 dimensions"};
        for (const size_t dim : tensor.get_shape()) view.dims.push(static_cast<int64_t>(dim));
        view.count = tensor.get_size();
        view.data = view.dtype == DType::kString ? static_cast<const void*>(tensor.data<std::string>()) : tensor.data();
    }
    return {};
}

Status lease(const Model& model, InferPool& pool, const Caller& caller, Lease& out) {
    // A caller who has left already gets no run, even if a slot is free.
    bool full = false;
    if (caller.deadline == Deadline::max() || Clock::now() < caller.deadline) {
        out = pool.lease(caller.deadline, full);
        if (caller.left != nullptr && caller.left->load(std::memory_order_relaxed))
            return {Code::kCancelled, "the client has cancelled the call"};
        if (out) return {};
    }
    const std::string which = "model " + quote_name(model.name()) + " version " + std::to_string(model.version());
    if (full)
        return {Code::kResourceExhausted, "the queue of " + which + " is full: " + std::to_string(pool.max_queue()) +
                                              " requests wait already (\"max_queue\" in the model's configuration)"};
    return {Code::kDeadlineExceeded, "no infer request of " + which + " became free within the deadline"};
}

Status run(const Registry& registry, const uint8_t* data, size_t size, const Caller& caller,
           const PredictOptions& options, const ByteSink& sink, Workspace& work, Trace* trace) {
    if (Status status = parse(data, size, work.request); !status.ok()) return status;

    const ModelSpecRef& spec = work.request.model_spec;
    ModelPin model;
    if (Status status = registry.acquire({spec.name, spec.has_version ? spec.version : 0, spec.label, spec.has_label}, model);
        !status.ok())
        return status;
    if (trace != nullptr) trace->model = model.shared();

    const Signature& signature = model->signature();
    if (Status status = check(signature, options.strict_dtypes, size, work); !status.ok()) return status;
    if (trace != nullptr) trace->checked = Clock::now();
    if (ShapeCheck* const shapes = model->shape_check(); shapes != nullptr)
        if (Status status = shapes->check(signature, work.inputs, caller.deadline); !status.ok()) return status;

    std::shared_ptr<CompiledShape> compiled;  // outlives the lease
    if (ShapeCache* const cache = model->shape_cache(); cache != nullptr)
        if (Status status = cache->get(work.inputs, caller.deadline, compiled); !status.ok()) return status;
    InferPool& pool = compiled == nullptr ? model->pool() : compiled->pool;

    Lease slot;
    if (Status status = lease(*model, pool, caller, slot); !status.ok()) return status;
    if (trace != nullptr) trace->leased = Clock::now();

    BindAndInfer steps(signature, work, *slot, trace);
    DynamicGraph* const graph = model->dynamic_graph();
    Status status = graph == nullptr ? steps.both() : graph->run(*slot, caller.deadline, steps);
    if (!status.ok()) return status;

    if (status = view_outputs(signature, work, *slot); !status.ok()) return status;
    status = pack_predict_response(work.outputs, model->name(), model->version(), options.typed_lists, sink);
    if (trace != nullptr) trace->packed = Clock::now();
    return status;
}

}  // namespace

Status predict(const Registry& registry, const uint8_t* data, size_t size, const Caller& caller,
               const PredictOptions& options, const ByteSink& sink, Trace* trace) {
    thread_local Workspace work;
    if (trace != nullptr) trace->began = Clock::now();
    try {
        Status status = run(registry, data, size, caller, options, sink, work, trace);
        work.request.clear();  // it points into data
        return status;
    } catch (const std::bad_alloc&) {
        return {Code::kResourceExhausted, "out of memory"};
    } catch (const std::exception& error) {
        return {Code::kInternal, error.what()};
    }
}

}  // namespace ovms
