#include "signature.hpp"

#include <algorithm>

#include "utf8.hpp"

namespace ovms {
namespace {

constexpr size_t kLongestList = 600;   // bytes of a list of names

std::string dimension_text(const Dimension& dim) {
    if (dim.fixed()) return std::to_string(dim.min);
    if (dim.max < 0 && dim.min <= 0) return "-1";
    return std::to_string(dim.min) + ":" + (dim.max < 0 ? "" : std::to_string(dim.max));
}

template <class Names, class NameOf>
std::string list_text(const Names& names, NameOf&& name_of) {
    std::string text = "[";
    for (size_t i = 0; i < names.size(); ++i) {
        if (i != 0) text += ", ";
        if (text.size() > kLongestList) return text + "...]";
        text += quote_name(name_of(names[i]));
    }
    return text + "]";
}

}  // namespace

std::string TensorSpec::shape_text() const {
    if (any_rank) return "[...]";
    std::string text = "[";
    for (size_t i = 0; i < dims.size(); ++i) text += (i == 0 ? "" : ", ") + dimension_text(dims[i]);
    return text + "]";
}

size_t find_tensor(const std::vector<TensorSpec>& tensors, std::string_view name) {
    for (size_t i = 0; i < tensors.size(); ++i)
        if (tensors[i].name == name) return i;
    return kNoTensor;
}

std::string name_list(const std::vector<TensorSpec>& tensors) {
    return list_text(tensors, [](const TensorSpec& tensor) -> std::string_view { return tensor.name; });
}

std::string name_list(const std::vector<std::string_view>& names) {
    return list_text(names, [](std::string_view name) { return name; });
}

namespace {

std::string where(const TensorSpec& spec, const char* advice) {
    return " (input " + quote_name(spec.name) + advice + ")";
}

// What would allow another shape than the required one, of the same rank
const char* shape_advice(const TensorSpec& spec) {
    switch (spec.rule) {
        case ShapeRule::kConfigured: return "; \"shape\" in the model's configuration decides it";
        case ShapeRule::kAuto: return "";
        default: return "; \"shape\": \"auto\" in the model's configuration allows whatever the model can take";
    }
}

const char* batch_advice(const TensorSpec& spec) {
    if (spec.rule == ShapeRule::kBatch) return "; \"batch_size\" in the model's configuration decides it, \"auto\" allows any";
    return "; \"batch_size\": \"auto\" in the model's configuration allows any that the model can take";
}

}  // namespace

Status check_shape(const Signature& signature, size_t input, const Dims& dims) {
    const TensorSpec& spec = signature.inputs[input];
    if (spec.any_rank && dims.rank <= kMaxRank) return {};
    const bool same_rank = dims.rank == spec.dims.size();
    // With "shape" set, the whole shape is one rule; else the first dimension is the batch, and apart.
    const size_t first = spec.rule == ShapeRule::kConfigured || spec.rule == ShapeRule::kAuto ? 0 : 1;
    bool right = same_rank;
    for (size_t i = first; right && i < dims.rank; ++i) right = spec.dims[i].takes(dims.size[i]);
    if (!right)
        return invalid_argument("The input data is incorrect. Obtained shape " + dims.text() + ", required shape " +
                                spec.shape_text() + where(spec, same_rank ? shape_advice(spec) : ""));
    if (first == 1 && dims.rank != 0 && !spec.dims[0].takes(dims.size[0]))
        return invalid_argument("Input batch size is incorrect. Obtained batch size " + std::to_string(dims.size[0]) +
                                ", required batch size " + dimension_text(spec.dims[0]) + where(spec, batch_advice(spec)));
    return {};
}

}  // namespace ovms
