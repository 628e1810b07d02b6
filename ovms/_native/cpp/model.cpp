#include "model.hpp"

#include <algorithm>
#include <exception>

#include "allocator.hpp"

namespace ovms {
namespace {

// A tensor may have several names, in no stable order; the shortest, then the first by alphabet, is the same every
// time. A tensor without any goes by its node's.
std::string tensor_name(const ov::Output<const ov::Node>& port, bool is_input) {
    const auto& names = port.get_names();
    if (names.empty()) {
        const ov::Node* node = port.get_node();
        return is_input ? node->get_friendly_name() : node->get_input_node_ptr(0)->get_friendly_name();
    }
    return *std::min_element(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
        return a.size() != b.size() ? a.size() < b.size() : a < b;
    });
}

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

}  // namespace

void Model::unpin() {
    // The last one out wakes whoever waits. The lock orders this with the waiter's own look at the count.
    if (pins_.fetch_sub(1, std::memory_order_seq_cst) == 1 && awaited_.load(std::memory_order_seq_cst)) {
        const std::lock_guard lock(mutex_);
        unused_.notify_all();
    }
}

bool Model::wait_unused(Deadline deadline) {
    std::unique_lock lock(mutex_);
    awaited_.store(true, std::memory_order_seq_cst);
    const auto unused = [&] { return pins_.load(std::memory_order_seq_cst) == 0; };
    if (deadline == Deadline::max()) {
        unused_.wait(lock, unused);
        return true;
    }
    return unused_.wait_until(lock, deadline, unused);
}

void Model::unload() {
    pool_.clear();
    compiled_ = {};
    dynamic_graph_.reset();
    return_freed_memory();
}

Status Model::build(const ov::Model& read, ov::CompiledModel compiled, const LoadOptions& options) {
    compiled_ = std::move(compiled);
    for (size_t i = 0; i < compiled_.inputs().size(); ++i)
        if (Status status = describe(read.input(i), compiled_.input(i), true, options.input_names,
                                     signature_.inputs.emplace_back());
            !status.ok())
            return status;
    for (size_t i = 0; i < compiled_.outputs().size(); ++i)
        if (Status status = describe(read.output(i), compiled_.output(i), false, options.output_names,
                                     signature_.outputs.emplace_back());
            !status.ok())
            return status;
    if (Status status = check_unique(signature_.inputs, "inputs"); !status.ok()) return status;
    if (Status status = check_unique(signature_.outputs, "outputs"); !status.ok()) return status;
    const uint32_t nireq =
        options.nireq != 0 ? options.nireq : std::max(1u, compiled_.get_property(ov::optimal_number_of_infer_requests));
    for (uint32_t i = 0; i < nireq; ++i) {
        auto slot = std::make_unique<InferSlot>();
        fill_slot(compiled_, signature_.inputs.size(), 0, *slot);
        pool_.add(std::move(slot));
    }
    return {};
}

Status load_model(ov::Core& core, const std::string& name, int64_t version, const std::string& path,
                  const LoadOptions& options, std::shared_ptr<Model>& out) {
    try {
        auto model = std::make_shared<Model>();
        model->name_ = name;
        model->version_ = version;
        ov::AnyMap config;
        for (const auto& [key, value] : options.config) config[key] = value;
        const std::shared_ptr<const ov::Model> read = core.read_model(path);
        if (Status status = model->build(*read, core.compile_model(read, options.device, config), options); !status.ok())
            return status;
        const auto& inputs = model->signature_.inputs;
        if (!std::all_of(inputs.begin(), inputs.end(), [](const TensorSpec& spec) { return spec.fixed; }))
            model->dynamic_graph_ = std::make_unique<DynamicGraph>(
                *read, [core, read, device = options.device, config]() mutable {
                    return core.compile_model(read, device, config);
                });
        out = std::move(model);
        return {};
    } catch (const std::bad_alloc&) {
        return {Code::kResourceExhausted, "out of memory while loading " + quote_name(path)};
    } catch (const std::exception& error) {
        return {Code::kFailedPrecondition, error.what()};
    }
}

std::string openvino_version_text() { return ov::get_openvino_version().buildNumber; }

}  // namespace ovms
