#include "shape_check.hpp"

#include <exception>
#include <map>

#include "utf8.hpp"

namespace ovms {
namespace {

constexpr size_t kMostKnown = 4096;   // shapes remembered; then the memory starts over
constexpr size_t kLongestWords = 400;  // bytes of OpenVINO's explanation that are repeated

// OpenVINO's explanation without the places in its source that it starts with.
std::string reason(const std::exception& error) {
    std::string_view words = error.what();
    if (const size_t at = words.find("While validating node"); at != std::string_view::npos) words.remove_prefix(at);
    while (!words.empty() && (words.back() == '\n' || words.back() == ' ')) words.remove_suffix(1);
    std::string text;
    for (const char c : cut_utf8(words, kLongestWords)) text += c == '\n' ? ' ' : c;
    return text;
}

std::string shapes_text(const Signature& signature, const std::vector<CheckedInput>& inputs) {
    std::string text;
    for (size_t i = 0; i < inputs.size(); ++i)
        text += (i == 0 ? "" : ", ") + inputs[i].tensor->dims.text() + " (input " + quote_name(signature.inputs[i].name) +
                ", whose own shape is " + signature.inputs[i].model_shape + ")";
    return text;
}

}  // namespace

std::string shapes_key(const std::vector<CheckedInput>& inputs) {
    std::string key;
    for (const CheckedInput& input : inputs) {
        const Dims& dims = input.tensor->dims;
        key.push_back(static_cast<char>(dims.rank));
        key.append(reinterpret_cast<const char*>(dims.size.data()), dims.rank * sizeof(int64_t));
    }
    return key;
}

std::vector<ov::PartialShape> partial_shapes(const std::vector<CheckedInput>& inputs) {
    std::vector<ov::PartialShape> shapes;
    for (const CheckedInput& input : inputs) {
        const Dims& dims = input.tensor->dims;
        shapes.emplace_back(std::vector<ov::Dimension>(dims.size.begin(), dims.size.begin() + static_cast<long>(dims.rank)));
    }
    return shapes;
}

Status ShapeCheck::check(const Signature& signature, const std::vector<CheckedInput>& inputs, Deadline deadline) {
    std::string key = shapes_key(inputs);
    {
        const std::shared_lock lock(known_mutex_);
        if (known_.contains(key)) return {};
    }
    std::unique_lock one_at_a_time(propagating_, std::defer_lock);
    if (deadline == Deadline::max()) one_at_a_time.lock();
    else if (!one_at_a_time.try_lock_until(deadline))
        return {Code::kDeadlineExceeded, "the shapes could not be checked within the deadline"};
    if (Status status = propagate(signature, inputs); !status.ok()) return status;
    const std::unique_lock lock(known_mutex_);
    if (known_.size() >= kMostKnown) known_.clear();
    known_.insert(std::move(key));
    return {};
}

Status ShapeCheck::propagate(const Signature& signature, const std::vector<CheckedInput>& inputs) {
    std::map<ov::Output<ov::Node>, ov::PartialShape> wanted;
    const std::vector<ov::PartialShape> shapes = partial_shapes(inputs);
    for (size_t i = 0; i < shapes.size(); ++i) wanted[model_->input(i)] = shapes[i];
    try {
        model_->reshape(wanted);  // leaves the model as it was if it throws
        return {};
    } catch (const std::exception& error) {
        return invalid_argument("The input data is incorrect. The model cannot take the obtained shape " +
                                shapes_text(signature, inputs) + ": " + reason(error));
    }
}

}  // namespace ovms
