// The body of a TensorFlow Serving REST predict request, read into typed tensors.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "json_tensor.hpp"
#include "signature.hpp"
#include "status.hpp"

namespace ovms {

// Where the values of one request are kept, and what form it has. Used again for the next one.
class TfsJsonRequest {
public:
    // Reads a body against the model's inputs: {"instances": [...]} (row) or {"inputs": ...} (column), named or for a
    // model's only input. Every input has its values afterwards, in the model's dtype; shapes are not compared with the
    // model's. body[size] must be readable, and zero. INVALID_ARGUMENT says what is wrong and where.
    Status read(const uint8_t* body, size_t size, const std::vector<TensorSpec>& inputs);

    // By input of the signature
    JsonTensor& tensor(size_t input) { return tensors_[input]; }
    bool row() const { return row_; }

    void release();  // gives up memory that only a giant needed

private:
    static constexpr size_t kWhole = static_cast<size_t>(-1);

    bool members(JsonReader& reader);
    bool member(JsonReader& reader, std::string_view key);
    bool signature_name(JsonReader& reader);
    bool instances(JsonReader& reader);
    bool inputs(JsonReader& reader);
    bool unnamed(JsonReader& reader);
    bool named(JsonReader& reader);
    bool value(JsonReader& reader, size_t input);
    bool is_encoded(const JsonReader& reader) const;
    std::string place() const;
    bool refuse(std::string text);
    bool missing();

    const std::vector<TensorSpec>* specs_ = nullptr;
    std::deque<JsonTensor> tensors_;  // never moved: they are large
    std::vector<uint8_t> given_;      // by input: whether the object that is read has it
    bool has_instances_ = false;
    bool has_inputs_ = false;
    bool has_signature_name_ = false;
    bool row_ = false;
    size_t instance_ = kWhole;  // which one is read
    std::string error_;
};

}  // namespace ovms
