#include "tfs_json_request.hpp"

#include <algorithm>

namespace ovms {
namespace {

constexpr size_t kMostKept = 64;  // tensors that a thread keeps for its next call

std::string expected_names(const std::vector<TensorSpec>& specs) {
    return ". Inputs expected to be in the set {" + name_list(specs) + "}";
}

}  // namespace

Status TfsJsonRequest::read(const uint8_t* body, size_t size, const std::vector<TensorSpec>& inputs) {
    specs_ = &inputs;
    has_instances_ = has_inputs_ = has_signature_name_ = row_ = false;
    instance_ = kWhole;
    error_.clear();
    while (tensors_.size() < inputs.size()) tensors_.emplace_back();
    for (size_t i = 0; i < inputs.size(); ++i) tensors_[i].start(inputs[i]);
    JsonReader reader(body, size);
    if (members(reader)) return {};
    if (!reader.error().empty()) return invalid_argument("Invalid JSON in request body: " + reader.error());
    return invalid_argument("Invalid inputs in request body: " + error_);
}

void TfsJsonRequest::release() {
    for (JsonTensor& tensor : tensors_) tensor.release();
    if (tensors_.size() > kMostKept) tensors_.resize(kMostKept);
}

bool TfsJsonRequest::refuse(std::string text) {
    error_ = std::move(text);
    return false;
}

bool TfsJsonRequest::members(JsonReader& reader) {
    if (reader.peek() != '{') return reader.fail("an object");
    ++reader.p;
    bool more = !reader.take('}');
    while (more) {
        std::string_view key;
        if (!reader.string(key)) return false;
        if (!member(reader, key)) return false;
        more = reader.take(',');
        if (!more && !reader.take('}')) return reader.fail("',' or '}'");
    }
    if (!reader.need_end()) return false;
    return has_instances_ || has_inputs_ || refuse("expected \"instances\" or \"inputs\"");
}

// key is gone once the reader has read another string
bool TfsJsonRequest::member(JsonReader& reader, std::string_view key) {
    const auto first = [&](bool& seen, const char* name) {
        if (seen) return refuse(std::string("\"") + name + "\" is there twice");
        seen = true;
        if (has_instances_ && has_inputs_) return refuse("expected \"instances\" or \"inputs\", got both");
        return reader.need(':');
    };
    if (key == "instances") return first(has_instances_, "instances") && instances(reader);
    if (key == "inputs") return first(has_inputs_, "inputs") && inputs(reader);
    if (key == "signature_name") return first(has_signature_name_, "signature_name") && signature_name(reader);
    return reader.need(':') && reader.skip_value();
}

// Of any text: a model has one signature, as with the gRPC API.
bool TfsJsonRequest::signature_name(JsonReader& reader) {
    std::string_view ignored;
    if (reader.peek() == '"') return reader.string(ignored);
    const std::string kind(reader.kind());
    return reader.skip_value() && refuse("signature_name: expected string, got " + kind);
}

bool TfsJsonRequest::instances(JsonReader& reader) {
    row_ = true;
    if (reader.peek() != '[') {
        const std::string kind(reader.kind());
        return reader.skip_value() && refuse("instances: expected array, got " + kind);
    }
    JsonReader ahead(reader.p, reader.remaining());
    ++ahead.p;
    const uint8_t first = ahead.peek();
    if (first == ']') return refuse("instances: expected at least one, got an empty array");
    if (first != '{') return unnamed(reader);  // the list is the tensor itself
    reader.p = ahead.p;
    const bool all_by_name = !is_encoded(reader);
    for (instance_ = 0;; ++instance_) {
        const bool by_name = reader.peek() == '{' && !is_encoded(reader);
        if (by_name != all_by_name && !reader.at_value()) return reader.fail("a value");
        if (by_name != all_by_name)
            return refuse(place() + ": expected " + (by_name ? "no " : "") + "names as in those before");
        if (!(by_name ? named(reader) : unnamed(reader))) return false;
        if (reader.take(',')) continue;
        return reader.take(']') || reader.fail("',' or ']'");
    }
}

bool TfsJsonRequest::inputs(JsonReader& reader) {
    instance_ = kWhole;
    return reader.peek() == '{' && !is_encoded(reader) ? named(reader) : unnamed(reader);
}

// Whether an object is {"b64": ...}, and not one that names an input "b64"
bool TfsJsonRequest::is_encoded(const JsonReader& reader) const {
    JsonReader ahead(reader.p, reader.remaining());  // no copy: that has the text of the last string
    std::string_view key;
    return ahead.take('{') && ahead.peek() == '"' && ahead.string(key) && key == "b64" && find_tensor(*specs_, key) == kNoTensor;
}

// A value without a name is for a model with one input.
bool TfsJsonRequest::unnamed(JsonReader& reader) {
    if (specs_->size() == 1) {
        if (value(reader, 0)) return true;
        error_ = place() + error_;
        return false;
    }
    const std::string kind(reader.kind());
    return reader.skip_value() && refuse(place() + ": expected object, got " + kind + expected_names(*specs_));
}

bool TfsJsonRequest::named(JsonReader& reader) {
    given_.assign(specs_->size(), 0);
    ++reader.p;
    bool more = !reader.take('}');
    while (more) {
        std::string_view key;
        if (!reader.string(key)) return false;
        const size_t input = find_tensor(*specs_, key);
        if (input == kNoTensor)
            return refuse(place() + ": input tensor alias not found in signature: " + quote_name(key) + expected_names(*specs_));
        if (given_[input] != 0) return refuse(place() + ": " + quote_name(key) + " is there twice");
        given_[input] = 1;
        if (!reader.need(':')) return false;
        if (!value(reader, input)) {
            error_ = place() + "." + (*specs_)[input].name + error_;
            return false;
        }
        more = reader.take(',');
        if (!more && !reader.take('}')) return reader.fail("',' or '}'");
    }
    return std::find(given_.begin(), given_.end(), 0) == given_.end() || missing();
}

bool TfsJsonRequest::missing() {
    std::vector<std::string_view> names;
    for (size_t i = 0; i < specs_->size(); ++i)
        if (given_[i] == 0) names.push_back((*specs_)[i].name);
    return refuse(place() + ": missing inputs: " + name_list(names) + expected_names(*specs_));
}

bool TfsJsonRequest::value(JsonReader& reader, size_t input) {
    if (tensors_[input].read(reader, instance_ != kWhole)) return true;
    error_ = tensors_[input].error();
    return false;
}

std::string TfsJsonRequest::place() const {
    if (!row_) return "inputs";
    return instance_ == kWhole ? "instances" : "instances[" + std::to_string(instance_) + "]";
}

}  // namespace ovms
