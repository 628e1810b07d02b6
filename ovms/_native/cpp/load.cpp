#include "load.hpp"

#include <algorithm>
#include <exception>

#include "model_setup.hpp"
#include "small_model.hpp"

namespace ovms {
namespace {

// read: the tensor as the model file names it; compiled: the same one as the device takes it. Compiling may change names.
Status describe(const ov::Output<const ov::Node>& read, const ov::Output<const ov::Node>& compiled, bool is_input,
                const std::map<std::string, std::string>& renamed, TensorSpec& spec) {
    spec.tensor_name = tensor_name(read, is_input);
    const auto name = renamed.find(spec.tensor_name);
    spec.name = name == renamed.end() ? spec.tensor_name : name->second;
    const std::string where = std::string(is_input ? "input " : "output ") + quote_name(spec.name);
    const std::string type = compiled.get_element_type().to_string();
    const DTypeInfo* row = from_openvino(type);
    if (row == nullptr) return {Code::kFailedPrecondition, where + " has element type " + type + ", which no API carries"};
    spec.dtype = row->dtype;
    const ov::PartialShape& shape = compiled.get_partial_shape();
    spec.any_rank = shape.rank().is_dynamic();
    spec.fixed = shape.is_static();
    if (spec.any_rank) return {};
    if (static_cast<size_t>(shape.rank().get_length()) > kMaxRank)
        return {Code::kFailedPrecondition, where + " has more than 16 dimensions"};
    for (const ov::Dimension& dim : shape) spec.dims.push_back({dim.get_min_length(), dim.get_max_length()});
    return {};
}

Status check_unique(const std::vector<TensorSpec>& tensors, const char* what) {
    for (size_t i = 0; i < tensors.size(); ++i)
        if (find_tensor(tensors, tensors[i].name) != i)
            return {Code::kFailedPrecondition, std::string("two ") + what + " are named " + quote_name(tensors[i].name)};
    return {};
}

// Lets requests choose what free allows, in a signature made from one compiled shape.
void open_up(const std::vector<FreeShape>& free, Signature& signature) {
    for (size_t i = 0; i < free.size(); ++i) {
        TensorSpec& spec = signature.inputs[i];
        for (size_t d = 0; d < free[i].allowed.size() && d < spec.dims.size(); ++d) {
            const ov::Dimension& dim = free[i].allowed[d];
            spec.dims[d] = {dim.get_min_length(), dim.get_max_length()};
            spec.fixed = spec.fixed && dim.is_static();
        }
    }
    for (TensorSpec& spec : signature.outputs) {  // follow the inputs, in ways that only a run tells
        for (Dimension& dim : spec.dims) dim = {};
        spec.fixed = spec.dims.empty();
    }
}

// OpenVINO keeps what it made for a shape, by operation and stream, up to 5000 of them: with a convolution model of 22
// operations 3000 random shapes took 730 MB, and 240 MB with 16 for each operation, in the same time. Eight for each are
// some 16 shapes, as not every operation has such a thing.
constexpr const char* kShapesKept = "CPU_RUNTIME_CACHE_CAPACITY";
constexpr size_t kKeptPerOperation = 8, kLeastKept = 128, kMostKept = 5000;

std::string shapes_kept(const ov::Model& model) {
    size_t operations = 0;
    for (const auto& node : model.get_ops()) operations += node->get_input_size() != 0;
    return std::to_string(std::clamp(operations * kKeptPerOperation, kLeastKept, kMostKept));
}

// What a warm-up may send: the model's own size, else the smallest that is allowed.
std::vector<int64_t> example_of(const TensorSpec& spec, const ov::PartialShape& own) {
    std::vector<int64_t> sizes;
    for (size_t i = 0; i < spec.dims.size(); ++i) {
        const Dimension& dim = spec.dims[i];
        const int64_t size = own.rank().is_static() && i < own.size() ? own[i].get_min_length() : 0;
        if (!dim.fixed() && size > 0 && dim.takes(size)) sizes.push_back(size);
        else sizes.push_back(dim.fixed() || dim.min > 0 ? dim.min : -1);
    }
    return sizes;
}

uint32_t streams_of(const ov::CompiledModel& compiled) {
    try {
        return static_cast<uint32_t>(std::max(0, static_cast<int32_t>(compiled.get_property(ov::num_streams))));
    } catch (const std::exception&) {
        return 0;  // not every device has them
    }
}

// Whether more infer requests than run at a time are of use: on streams of the CPU's own. Without a stream a run is its
// caller's, and would make that one run others'; a device that batches binds infer requests to batches, of which spare ones
// would leave some half empty.
bool gets_ready_ahead(const ov::CompiledModel& compiled, const LoadOptions& options) {
    return options.device == "CPU" && streams_of(compiled) > 0;
}

// graph: of a compiled model of dynamic shapes.
void fill_pool(ov::CompiledModel& compiled, size_t inputs, const LoadOptions& options, DynamicGraph* graph,
               InferPool& pool) {
    const uint32_t nireq =
        options.nireq != 0 ? options.nireq : std::max(1u, compiled.get_property(ov::optimal_number_of_infer_requests));
    pool.set_max_queue(options.max_queue);
    pool.fill(nireq, gets_ready_ahead(compiled, options), [&] {
        auto slot = std::make_unique<InferSlot>();
        fill_slot(compiled, inputs, 0, *slot);
        slot->graph = graph;
        return slot;
    });
}

}  // namespace

class ModelBuilder {
public:
    ModelBuilder(ov::Core& core, const LoadOptions& options) : core_(core), options_(options) {
        for (const auto& [key, value] : options.config) config_[key] = value;
    }

    Status build(const std::string& path, Model& model) {
        read_ = core_.read_model(path);
        if (Status status = fold_preprocessing(read_, options_); !status.ok()) return status;
        for (const auto& input : read_->inputs()) own_shapes_.push_back(input.get_partial_shape());
        if (Status status = set_shapes(*read_, options_, free_); !status.ok()) return status;
        for (const auto& input : read_->inputs()) set_shapes_.push_back(input.get_partial_shape());
        const bool choosable = std::any_of(free_.begin(), free_.end(), [](const FreeShape& f) { return !f.allowed.empty(); });
        const bool any_rank = std::any_of(own_shapes_.begin(), own_shapes_.end(),
                                          [](const ov::PartialShape& shape) { return shape.rank().is_dynamic(); });
        if (!choosable && !options_.config_if_small.empty() && is_small(*read_)) {
            for (const auto& [key, value] : options_.config_if_small) config_[key] = value;
            model.small_ = true;
        }
        if (choosable && options_.compiled_shapes != 0 && !any_rank) return build_apart(options_.compiled_shapes, model);
        if (choosable) {
            bool taken = make_dynamic(*read_, free_);
            if (taken) {
                try {
                    return build_whole(model);
                } catch (const std::exception&) {
                    model.pool_.clear();  // it is perhaps the infer requests that cannot be made
                    model.dynamic_graph_.reset();
                    restore_shapes();
                }
            }
            if (!any_rank) return build_apart(kFallbackShapes, model);
        }
        return build_whole(model);
    }

private:
    static constexpr size_t kFallbackShapes = 8;

    // One compiled model for everything.
    Status build_whole(Model& model) {
        ov::CompiledModel compiled = compile(model);
        if (Status status = sign(compiled, model); !status.ok()) return status;
        const auto& inputs = model.signature_.inputs;
        if (!std::all_of(inputs.begin(), inputs.end(), [](const TensorSpec& spec) { return spec.fixed; })) {
            model.shape_check_ = std::make_unique<ShapeCheck>(*read_);
            model.dynamic_graph_ = std::make_unique<DynamicGraph>(
                [core = core_, read = read_, device = options_.device, config = properties(), &count = model.compilations_]() mutable {
                    ++count;
                    return core.compile_model(read, device, config);
                });
        }
        fill_pool(compiled, inputs.size(), options_, model.dynamic_graph_.get(), model.pool_);
        model.nireq_ = static_cast<uint32_t>(model.pool_.nireq());
        model.streams_ = streams_of(compiled);
        model.compiled_ = std::move(compiled);
        return {};
    }

    // One compiled model for each shape.
    Status build_apart(size_t most, Model& model) {
        auto first = std::make_shared<CompiledShape>();
        std::vector<ov::PartialShape> shapes;
        for (const auto& input : read_->inputs()) shapes.push_back(input.get_partial_shape());
        first->compiled = compile(model);
        if (Status status = sign(first->compiled, model); !status.ok()) return status;
        fill_pool(first->compiled, shapes.size(), options_, nullptr, first->pool);
        model.nireq_ = static_cast<uint32_t>(first->pool.nireq());
        model.streams_ = streams_of(first->compiled);
        open_up(free_, model.signature_);
        for (size_t i = 0; i < own_shapes_.size(); ++i) {
            TensorSpec& spec = model.signature_.inputs[i];
            spec.example = example_of(spec, own_shapes_[i]);
        }
        const size_t waiting = options_.max_queue == kNoLimit ? kNoLimit : options_.max_queue + model.nireq_;
        model.shape_check_ = std::make_unique<ShapeCheck>(*read_);
        model.shape_cache_ = std::make_unique<ShapeCache>(
            most, waiting,
            [core = core_, read = read_, options = options_, config = config_, &count = model.compilations_](
                const std::vector<ov::PartialShape>& wanted, std::shared_ptr<CompiledShape>& out) mutable {
                ++count;
                return compile_shape(core, *read, options, config, wanted, out);
            },
            model.shape_hits_);
        model.compiles_shapes_ = true;
        // The model's own shape, if it has one: proof that the model can be compiled, and likely to be asked for.
        if (std::all_of(shapes.begin(), shapes.end(), [](const ov::PartialShape& shape) { return shape.is_static(); }))
            model.shape_cache_->put(shapes, std::move(first));
        return {};
    }

    static Status compile_shape(ov::Core& core, const ov::Model& read, const LoadOptions& options,
                                const ov::AnyMap& config, const std::vector<ov::PartialShape>& wanted,
                                std::shared_ptr<CompiledShape>& out) {
        try {
            const std::shared_ptr<ov::Model> copy = read.clone();
            std::map<ov::Output<ov::Node>, ov::PartialShape> shapes;
            for (size_t i = 0; i < wanted.size(); ++i) shapes[copy->input(i)] = wanted[i];
            copy->reshape(shapes);
            auto made = std::make_shared<CompiledShape>();
            made->compiled = core.compile_model(copy, options.device, config);
            fill_pool(made->compiled, wanted.size(), options, nullptr, made->pool);
            out = std::move(made);
            return {};
        } catch (const std::bad_alloc&) {
            return {Code::kResourceExhausted, "out of memory while compiling the model for another shape"};
        } catch (const std::exception& error) {
            return invalid_argument(std::string("the model cannot be compiled for this shape: ") + error.what());
        }
    }

    ov::CompiledModel compile(Model& model) {
        ov::CompiledModel compiled = core_.compile_model(read_, options_.device, properties());
        ++model.compilations_;
        return compiled;
    }

    // What is configured, and for the model as it is now what should be unless something else is.
    ov::AnyMap properties() const {
        ov::AnyMap properties = config_;
        if (options_.device == "CPU" && read_->is_dynamic()) properties.try_emplace(kShapesKept, shapes_kept(*read_));
        return properties;
    }

    void restore_shapes() {
        std::map<ov::Output<ov::Node>, ov::PartialShape> shapes;
        for (size_t i = 0; i < set_shapes_.size(); ++i) shapes[read_->input(i)] = set_shapes_[i];
        read_->reshape(shapes);
    }

    Status sign(const ov::CompiledModel& compiled, Model& model) {
        Signature signature;
        const std::shared_ptr<const ov::Model> read = read_;
        for (size_t i = 0; i < compiled.inputs().size(); ++i) {
            TensorSpec& spec = signature.inputs.emplace_back();
            if (Status status = describe(read->input(i), compiled.input(i), true, options_.input_names, spec); !status.ok())
                return status;
            spec.rule = free_[i].rule;
            spec.model_shape = own_shapes_[i].to_string();
            spec.example = example_of(spec, own_shapes_[i]);
        }
        for (size_t i = 0; i < compiled.outputs().size(); ++i)
            if (Status status = describe(read->output(i), compiled.output(i), false, options_.output_names,
                                         signature.outputs.emplace_back());
                !status.ok())
                return status;
        if (Status status = check_unique(signature.inputs, "inputs"); !status.ok()) return status;
        if (Status status = check_unique(signature.outputs, "outputs"); !status.ok()) return status;
        model.signature_ = std::move(signature);
        return {};
    }

    ov::Core& core_;
    const LoadOptions& options_;
    ov::AnyMap config_;
    std::shared_ptr<ov::Model> read_;
    std::vector<ov::PartialShape> own_shapes_;  // as read, preprocessing folded in
    std::vector<ov::PartialShape> set_shapes_;  // with what the configuration sets
    std::vector<FreeShape> free_;

public:
    static std::shared_ptr<Model> make(const std::string& name, int64_t version) {
        auto model = std::make_shared<Model>();
        model->name_ = name;
        model->version_ = version;
        return model;
    }
};

Status load_model(ov::Core& core, const std::string& name, int64_t version, const std::string& path,
                  const LoadOptions& options, std::shared_ptr<Model>& out) {
    try {
        std::shared_ptr<Model> model = ModelBuilder::make(name, version);
        if (Status status = ModelBuilder(core, options).build(path, *model); !status.ok()) return status;
        out = std::move(model);
        return {};
    } catch (const std::bad_alloc&) {
        return {Code::kResourceExhausted, "out of memory while loading " + quote_name(path)};
    } catch (const std::exception& error) {
        return {Code::kFailedPrecondition, error.what()};
    }
}

void prepare_core(ov::Core& core, const std::string& cache_folder, const std::string& extension) {
    core.set_property(ov::enable_mmap(false));
    if (!cache_folder.empty()) core.set_property(ov::cache_dir(cache_folder));
    if (!extension.empty()) core.add_extension(extension);
}

std::string openvino_version_text() { return ov::get_openvino_version().buildNumber; }

}  // namespace ovms
