// parse - acquire - check - lease - bind - infer - pack: the only place where they stand in order.
#include "predict.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "bind.hpp"
#include "ticks.hpp"

namespace ovms {
namespace {

// What one call needs besides the request and the answer. Kept per thread, so that a call allocates nothing here once
// its thread is warm; as large as a model's signature.
struct Workspace {
    std::vector<CheckedInput> inputs;   // by input of the signature
    std::vector<size_t> output_order;   // indices into the signature's outputs
    std::vector<OutputView> outputs;
};

Status has_left() { return {Code::kCancelled, "the client has cancelled the call"}; }

Status bind(const Signature& signature, const Workspace& work, InferSlot& slot) {
    for (size_t i = 0; i < work.inputs.size(); ++i)
        if (Status status = bind_input(signature, i, work.inputs[i], slot); !status.ok()) return status;
    bind_outputs(work.outputs, work.output_order, slot);
    return {};
}

// The outputs asked for as they will be, if the model tells all their shapes; else false.
bool know_outputs(const Signature& signature, Workspace& work) {
    for (const size_t index : work.output_order) {
        const TensorSpec& spec = signature.outputs[index];
        if (!spec.fixed || spec.dims.size() > kMaxRank) return false;
        OutputView& view = work.outputs.emplace_back();
        view.name = spec.name;
        view.dtype = spec.dtype;
        for (const Dimension& dim : spec.dims) view.dims.push(dim.min);
        if (!element_count(view.dims, view.count)) return false;
    }
    return true;
}

// Whether an output has as many bytes as are worth it, by a look that costs small answers next to nothing.
bool may_be_large(const Signature& signature, const std::vector<size_t>& order) {
    for (const size_t index : order) {
        const TensorSpec& spec = signature.outputs[index];
        size_t bytes = spec.fixed ? info(spec.dtype).size : 0;
        for (const Dimension& dim : spec.dims) {
            if (bytes >= kSmallestPlaced) break;  // before it can overflow
            bytes *= static_cast<size_t>(std::min<int64_t>(dim.min, kSmallestPlaced));
        }
        if (bytes >= kSmallestPlaced) return true;
    }
    return false;
}

// A large answer of fixed shapes is laid out before the run, so that the model writes its values where they are sent from:
// 0.6 MB less to copy are about a fifth of such a call's CPU. Afterwards all outputs have a place, or there are none yet.
Status lay_out(const Model& model, PredictCodec& codec, const ByteSink& sink, Workspace& work) {
    Status status;
    if (!may_be_large(model.signature(), work.output_order)) return status;
    if (know_outputs(model.signature(), work)) status = codec.lay_out(work.outputs, model.name(), model.version(), sink);
    if (work.outputs.empty() || work.outputs.front().place == nullptr) work.outputs.clear();
    return status;
}

// Of a run that is done.
void learn(InferSlot& slot, RunTicks* ticks) {
    // Down at once, up slowly: a short run that was interrupted, or the first one, does not make a model long.
    if (ticks != nullptr) *ticks = {slot.began, slot.ended};
    static const double tick = nanoseconds_per_tick();
    const std::chrono::nanoseconds took(static_cast<int64_t>(static_cast<double>(slot.ended - slot.began) * tick));
    slot.usual_run = took < slot.usual_run ? took : slot.usual_run + (took - slot.usual_run) / 64;
    if (slot.runs < kRunsToKnow) ++slot.runs;
}

Status in_turn(const Model& model, InferPool& pool, const Caller& caller, InferSlot& slot) {
    switch (pool.runs().run(slot, caller.deadline, caller.left)) {
        case RunQueue::Outcome::kDone: return {};
        case RunQueue::Outcome::kLate: return none_became_free(model);
        case RunQueue::Outcome::kLeft: return has_left();
    }
    return {};
}

Status infer(const Model& model, InferPool& pool, const Caller& caller, InferSlot& slot) {
    try {
        if (pool.long_runs() || slot.spare || slot.usual_run >= kLongRun) {
            if (Status status = in_turn(model, pool, caller, slot); !status.ok()) return status;
        } else {
            slot.began = ticks_now();
            slot.request.infer();
            slot.ended = ticks_now();
        }
        learn(slot, caller.run);
        return {};
    } catch (const std::exception& error) {
        if (slot.graph != nullptr) slot.graph->spoil(slot);
        // The code is ie_serving's: it is what a request wrong for its model gets.
        return invalid_argument(std::string("Error occurred during inference execution: ") + error.what());
    }
}

class BindAndInfer final : public DynamicGraph::Steps {
public:
    BindAndInfer(const Model& model, InferPool& pool, const Workspace& work, InferSlot& slot, const Caller& caller, Trace* trace)
        : model_(model), pool_(pool), work_(work), slot_(slot), caller_(caller), trace_(trace) {}

    Status bind() override {
        Status status = ovms::bind(model_.signature(), work_, slot_);
        if (trace_ != nullptr) trace_->bound = Clock::now();
        return status;
    }
    Status infer() override {
        Status status = ovms::infer(model_, pool_, caller_, slot_);
        if (trace_ != nullptr) trace_->inferred = Clock::now();
        return status;
    }
    Status both() {
        Status status = bind();
        return status.ok() ? infer() : status;
    }

private:
    const Model& model_;
    InferPool& pool_;
    const Workspace& work_;
    InferSlot& slot_;
    const Caller& caller_;
    Trace* const trace_;
};

Status view_outputs(const Signature& signature, Workspace& work, InferSlot& slot) {
    work.outputs.resize(work.output_order.size());
    for (size_t i = 0; i < work.outputs.size(); ++i) {
        const size_t index = work.output_order[i];
        const ov::Tensor tensor = slot.request.get_output_tensor(index);
        OutputView view;
        view.place = work.outputs[i].place;
        view.name = signature.outputs[index].name;
        view.dtype = signature.outputs[index].dtype;
        if (tensor.get_shape().size() > kMaxRank)
            return {Code::kInternal, "output " + quote_name(view.name) + " has more than 16 dimensions"};
        for (const size_t dim : tensor.get_shape()) view.dims.push(static_cast<int64_t>(dim));
        if (!element_count(view.dims, view.count))
            return {Code::kInternal, "output " + quote_name(view.name) + " has the shape " + view.dims.text() + ", which is too large"};
        view.data = view.dtype == DType::kString ? static_cast<const void*>(tensor.data<std::string>()) : tensor.data();
        if (view.place != nullptr && view.count != work.outputs[i].count)
            return {Code::kInternal, "output " + quote_name(view.name) + " has another shape than the model says"};
        work.outputs[i] = view;
    }
    return {};
}

Status lease(const Model& model, InferPool& pool, const Caller& caller, Lease& out) {
    // A caller who has left already gets no run, even if a slot is free.
    bool full = false;
    if (caller.deadline == Deadline::max() || Clock::now() < caller.deadline) {
        out = pool.lease(caller.deadline, full);
        if (caller.left != nullptr && caller.left->load(std::memory_order_relaxed))
            return has_left();
        if (out) return {};
    }
    return full ? queue_is_full(model, pool.max_queue()) : none_became_free(model);
}

// An infer request for a call that may not wait: only of a model whose shapes are fixed, as checking or compiling others can
// take long, and only if one is free and known to be quick.
bool lease_inline(Model& model, const Caller& caller, Lease& out) {
    if (model.shape_check() != nullptr || model.shape_cache() != nullptr || model.dynamic_graph() != nullptr) return false;
    if (caller.deadline != Deadline::max() && Clock::now() >= caller.deadline) return false;
    out = model.pool().lease_quick(caller.longest_run);
    return static_cast<bool>(out);
}

Status run(const Registry& registry, PredictCodec& codec, const Caller& caller, const ByteSink& sink, Workspace& work,
           Trace* trace) {
    ModelKey key;
    if (Status status = codec.parse(key); !status.ok()) return status;

    ModelPin own;
    ModelPin& model = caller.model == nullptr ? own : *caller.model;
    if (!model)
        if (Status status = registry.acquire(key, model); !status.ok()) return status;
    if (trace != nullptr) trace->model = model.shared();

    Lease slot;
    if (caller.inline_only && !lease_inline(*model, caller, slot)) return {Code::kPostponed, {}};

    const Signature& signature = model->signature();
    work.output_order.clear();
    work.outputs.clear();
    if (Status status = codec.check(signature, work.inputs, work.output_order); !status.ok()) return status;
    if (trace != nullptr) trace->checked = Clock::now();
    if (ShapeCheck* const shapes = model->shape_check(); shapes != nullptr)
        if (Status status = shapes->check(signature, work.inputs, caller.deadline); !status.ok()) return status;

    std::shared_ptr<CompiledShape> compiled;  // outlives the lease
    if (ShapeCache* const cache = model->shape_cache(); cache != nullptr)
        if (Status status = cache->get(work.inputs, caller.deadline, compiled); !status.ok()) return status;
    InferPool& pool = compiled == nullptr ? model->pool() : compiled->pool;

    if (!slot)
        if (Status status = lease(*model, pool, caller, slot); !status.ok()) return status;
    if (trace != nullptr) trace->leased = Clock::now();

    DynamicGraph* const graph = model->dynamic_graph();
    if (graph == nullptr && compiled == nullptr && sink.allocate_early != nullptr)
        if (Status status = lay_out(*model, codec, sink, work); !status.ok()) return status;

    BindAndInfer steps(*model, pool, work, *slot, caller, trace);
    Status status = graph == nullptr ? steps.both() : graph->run(*slot, caller.deadline, steps);
    if (!status.ok()) return status;

    if (status = view_outputs(signature, work, *slot); !status.ok()) return status;
    status = codec.pack(work.outputs, model->name(), model->version(), sink);
    if (trace != nullptr) trace->packed = Clock::now();
    return status;
}

}  // namespace

Status predict(const Registry& registry, PredictCodec& codec, const Caller& caller, const ByteSink& sink, Trace* trace) {
    thread_local Workspace work;
    if (trace != nullptr) trace->began = Clock::now();
    try {
        return run(registry, codec, caller, sink, work, trace);
    } catch (const std::bad_alloc&) {
        return {Code::kResourceExhausted, "out of memory"};
    } catch (const std::exception& error) {
        return {Code::kInternal, error.what()};
    }
}

}  // namespace ovms
