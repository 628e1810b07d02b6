#include "model_setup.hpp"

#include <algorithm>
#include <exception>
#include <map>
#include <openvino/core/preprocess/pre_post_process.hpp>

namespace ovms {
namespace {

using ov::preprocess::ColorFormat;
using ov::preprocess::PrePostProcessor;

Status wrong(const std::string& what) { return {Code::kFailedPrecondition, what}; }

std::vector<std::string> names_of(const std::vector<ov::Output<const ov::Node>>& ports, bool inputs) {
    std::vector<std::string> names;
    for (const auto& port : ports) names.push_back(tensor_name(port, inputs));
    return names;
}

std::vector<ov::Output<const ov::Node>> input_ports(const ov::Model& model) { return model.inputs(); }
std::vector<ov::Output<const ov::Node>> output_ports(const ov::Model& model) { return model.outputs(); }

std::string listed(const std::vector<std::string>& names) {
    const std::vector<std::string_view> views(names.begin(), names.end());
    return name_list(views);
}

// The index of the port that a setting means: by any of its names, or the only one.
Status find_port(const std::string& name, const std::vector<ov::Output<const ov::Node>>& ports, bool inputs,
                 const char* setting, size_t& index) {
    const std::vector<std::string> names = names_of(ports, inputs);
    if (name.empty()) {
        index = 0;
        if (ports.size() == 1) return {};
        // The first words are ie_serving's.
        return wrong(std::string(setting) == "shape"
                         ? "Noname shape specified for model with multiple inputs: " + listed(names)
                         : std::string(setting) + " without a name given for a model with several inputs: " + listed(names));
    }
    for (index = 0; index < ports.size(); ++index)
        if (names[index] == name || ports[index].get_names().count(name) != 0) return {};
    return wrong(std::string(setting) + " given for " + quote_name(name) + ", which the model does not have; its " +
                 (inputs ? "inputs are " : "outputs are ") + listed(names));
}

struct Pair {
    std::string sent, taken;  // what clients send, what the model takes
};

Pair split(const std::string& text) {
    const size_t colon = text.find(':');
    if (colon == std::string::npos) return {text, text};
    return {text.substr(0, colon), text.substr(colon + 1)};
}

// Whether the layouts have as many letters as the tensor has dimensions; OpenVINO's words for it name no layout.
Status check_rank(const ov::Output<const ov::Node>& port, bool is_input, const Pair& layout) {
    const ov::Rank rank = port.get_partial_shape().rank();
    if (rank.is_dynamic()) return {};
    for (const std::string& text : {layout.sent, layout.taken})
        if (text.find("...") == std::string::npos && text.size() != static_cast<size_t>(rank.get_length()))
            return wrong("layout " + quote_name(text) + " has " + std::to_string(text.size()) + " dimensions, and " +
                         (is_input ? "input " : "output ") + quote_name(tensor_name(port, is_input)) + " has " +
                         std::to_string(rank.get_length()) + ": " + port.get_partial_shape().to_string());
    return {};
}

bool color(const std::string& name, ColorFormat& out) {
    static const std::map<std::string, ColorFormat> formats = {{"RGB", ColorFormat::RGB},   {"BGR", ColorFormat::BGR},
                                                               {"GRAY", ColorFormat::GRAY}, {"RGBX", ColorFormat::RGBX},
                                                               {"BGRX", ColorFormat::BGRX}};
    const auto found = formats.find(name);
    if (found == formats.end()) return false;
    out = found->second;
    return true;
}

Status add_steps(PrePostProcessor& steps, const ov::Model& model, size_t index, const Preprocessing& wanted) {
    auto& input = steps.input(index);
    const ov::element::Type own = model.input(index).get_element_type();
    ov::element::Type sent = own;
    if (!wanted.precision.empty()) {
        sent = ov::element::Type(wanted.precision);
        input.tensor().set_element_type(sent);
    }
    if (!wanted.layout.empty()) {
        const Pair layout = split(wanted.layout);
        if (Status status = check_rank(input_ports(model)[index], true, layout); !status.ok()) return status;
        input.tensor().set_layout(ov::Layout(layout.sent));
        input.model().set_layout(ov::Layout(layout.taken));
    } else if (!wanted.color_format.empty() || wanted.mean.size() > 1 || wanted.scale.size() > 1) {
        if (ov::layout::get_layout(model.input(index)).empty())
            return wrong("mean, scale and color_format of input " + quote_name(tensor_name(input_ports(model)[index], true)) +
                         " need to know which dimension the channels are: give layout, such as NCHW or NHWC:NCHW");
    }
    const bool arithmetic = !wanted.mean.empty() || !wanted.scale.empty();
    // Everything in the model's own precision: bytes would be rounded after each step.
    const bool computes = arithmetic || !wanted.color_format.empty();
    if (computes && own.is_real() && sent != own) input.preprocess().convert_element_type(own);
    else if (arithmetic && !own.is_real()) input.preprocess().convert_element_type(ov::element::f32);
    if (!wanted.color_format.empty()) {
        const Pair colors = split(wanted.color_format);
        ColorFormat from{}, to{};
        if (!color(colors.sent, from) || !color(colors.taken, to))
            return wrong("color_format " + quote_name(wanted.color_format) + ": expected two of RGB, BGR, GRAY, RGBX, BGRX "
                         "with a colon between them");
        if (from != to) {
            input.tensor().set_color_format(from);
            input.preprocess().convert_color(to);
        }
    }
    if (wanted.mean.size() == 1) input.preprocess().mean(wanted.mean[0]);
    else if (!wanted.mean.empty()) input.preprocess().mean(wanted.mean);
    if (wanted.scale.size() == 1) input.preprocess().scale(wanted.scale[0]);
    else if (!wanted.scale.empty()) input.preprocess().scale(wanted.scale);
    if (arithmetic && !own.is_real()) input.preprocess().convert_element_type(own);
    return {};
}

// A setting may come by the input's name and another one without: for the only input.
void add_missing(Preprocessing& to, const Preprocessing& from) {
    if (to.layout.empty()) to.layout = from.layout;
    if (to.precision.empty()) to.precision = from.precision;
    if (to.color_format.empty()) to.color_format = from.color_format;
    if (to.mean.empty()) to.mean = from.mean;
    if (to.scale.empty()) to.scale = from.scale;
}

// A layout alone may be given for an output. A name that is an input's too means the input.
bool is_for_output(const ov::Model& model, const std::string& name, const Preprocessing& wanted, size_t& index) {
    if (name.empty() || find_port(name, input_ports(model), true, "", index).ok()) return false;
    if (!wanted.precision.empty() || !wanted.color_format.empty() || !wanted.mean.empty() || !wanted.scale.empty())
        return false;
    return find_port(name, output_ports(model), false, "", index).ok();
}

// The dimension that counts the batch: the layout's N, else the first.
size_t batch_dimension(const ov::Model& model, size_t input) {
    const ov::Layout layout = ov::layout::get_layout(model.input(input));
    if (!layout.empty() && ov::layout::has_batch(layout)) {
        const int64_t index = ov::layout::batch_idx(layout);
        if (index >= 0) return static_cast<size_t>(index);
    }
    return 0;
}

void leave_open(const ov::Output<const ov::Node>& input, FreeShape& free) {
    const ov::PartialShape own = input.get_partial_shape();
    free.rule = ShapeRule::kAuto;
    if (own.rank().is_static()) free.allowed.assign(own.size(), ov::Dimension::dynamic());
}

Status reshape(ov::Model& model, const std::map<size_t, ov::PartialShape>& shapes, const char* setting) {
    std::map<ov::Output<ov::Node>, ov::PartialShape> wanted;
    std::string text;
    for (const auto& [index, shape] : shapes) {
        wanted[model.input(index)] = shape;
        text += (text.empty() ? "" : ", ") + shape.to_string() + " for " +
                quote_name(tensor_name(input_ports(model)[index], true));
    }
    if (wanted.empty()) return {};
    try {
        model.reshape(wanted);
        return {};
    } catch (const std::exception& error) {
        return wrong(std::string(setting) + ": the model cannot be given the shape " + text + ": " + error.what());
    }
}

}  // namespace

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

Status fold_preprocessing(std::shared_ptr<ov::Model>& model, const LoadOptions& options) {
    if (options.preprocessing.empty()) return {};
    try {
        PrePostProcessor steps(model);
        std::map<size_t, Preprocessing> by_input;
        for (const auto& [name, wanted] : options.preprocessing) {
            size_t index = 0;
            if (is_for_output(*model, name, wanted, index)) {
                const Pair layout = split(wanted.layout);
                if (Status status = check_rank(output_ports(*model)[index], false, layout); !status.ok()) return status;
                steps.output(index).model().set_layout(ov::Layout(layout.taken));
                steps.output(index).tensor().set_layout(ov::Layout(layout.sent));
                continue;
            }
            const auto inputs = input_ports(*model);
            if (Status status = find_port(name, inputs, true, "preprocessing", index); !status.ok()) return status;
            add_missing(by_input[index], wanted);
        }
        for (const auto& [index, wanted] : by_input)
            if (Status status = add_steps(steps, *model, index, wanted); !status.ok()) return status;
        model = steps.build();
        return {};
    } catch (const std::exception& error) {
        return wrong(std::string("layout, precision, mean, scale or color_format does not fit the model: ") + error.what());
    }
}

Status set_shapes(ov::Model& model, const LoadOptions& options, std::vector<FreeShape>& free) {
    const auto inputs = input_ports(model);
    free.assign(inputs.size(), {});
    std::map<size_t, ov::PartialShape> wanted;
    for (const auto& [name, text] : options.shapes) {
        size_t index = 0;
        if (name.empty() && text == "auto") {
            for (index = 0; index < inputs.size(); ++index) leave_open(inputs[index], free[index]);
            continue;
        }
        if (Status status = find_port(name, inputs, true, "shape", index); !status.ok()) return status;
        if (text == "auto") {
            leave_open(inputs[index], free[index]);
            continue;
        }
        free[index].rule = ShapeRule::kConfigured;
        wanted[index] = ov::PartialShape(text);
    }
    if (options.shapes.empty() && options.batch != 0) {
        for (size_t index = 0; index < inputs.size(); ++index) {
            ov::PartialShape shape = inputs[index].get_partial_shape();
            const size_t place = batch_dimension(model, index);
            if (shape.rank().is_dynamic() || shape.size() <= place) continue;
            if (options.batch == kBatchAuto) {
                free[index].rule = ShapeRule::kBatchAuto;
                free[index].allowed.assign(shape.begin(), shape.end());
                free[index].allowed[place] = ov::Dimension::dynamic();
                continue;
            }
            free[index].rule = ShapeRule::kBatch;
            shape[place] = options.batch;
            wanted[index] = shape;
        }
    }
    return reshape(model, wanted, options.shapes.empty() ? "batch_size" : "shape");
}

bool make_dynamic(ov::Model& model, const std::vector<FreeShape>& free) {
    std::map<size_t, ov::PartialShape> wanted;
    for (size_t index = 0; index < free.size(); ++index)
        if (!free[index].allowed.empty()) wanted[index] = ov::PartialShape(free[index].allowed);
    return reshape(model, wanted, "shape").ok();
}

}  // namespace ovms
