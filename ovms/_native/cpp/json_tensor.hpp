// Nested JSON arrays -> the typed, row-major elements of one tensor, in one pass.
#pragma once

#include <array>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dtype.hpp"
#include "json_reader.hpp"
#include "signature.hpp"
#include "tensor_ref.hpp"

namespace ovms {

// Elements as they come in. Kept from call to call, so that a warm thread allocates nothing.
class ElementBuffer {
public:
    // Room for so many bytes in all; what is there stays. std::bad_alloc if there is no memory.
    void reserve(size_t bytes);
    void release();  // gives up memory that only a giant needed
    uint8_t* data() const { return data_.get(); }
    size_t capacity() const { return capacity_; }

private:
    struct Free {
        void operator()(uint8_t* memory) const { std::free(memory); }
    };
    std::unique_ptr<uint8_t, Free> data_;  // from malloc, so aligned for every element type
    size_t capacity_ = 0;
};

// One input while it is read: in one piece, or instance by instance.
//
// Numbers: any JSON number for float types, rounded once to float64 (float32: directly) and then to the type, infinite
// beyond its range; NaN, Inf, Infinity and -Inf, -Infinity too. Integer types: numbers that are integers in the type's
// range, however spelled. bool: true and false, and the numbers 1 and 0. Strings: strings, or {"b64": "..."}.
class JsonTensor {
public:
    // Forgets everything. spec: the model's input; its dtype is the tensor's, its shape decides how the bytes of a
    // {"b64": ...} are shaped and for how many elements room is made at first. It has to stay.
    void start(const TensorSpec& spec);

    // Reads one value. instance: the value is the next element of dimension 0, else it is the whole tensor.
    bool read(JsonReader& reader, bool instance);

    // What was read. The shape is complete once no more values come.
    Dims dims() const;
    std::string_view content() const;  // bytes of the elements, but for strings
    std::string* strings() { return strings_.data(); }
    uint64_t count() const { return count_; }

    // Why read failed, if the value is right JSON but no part of such a tensor (else the reader has an error): its place
    // within the value, and what was expected: "[0][17]: expected number, got string".
    const std::string& error() const { return error_; }

    void release();  // see ElementBuffer

private:
    static constexpr int64_t kUnknown = -1;

    bool elements(JsonReader& reader, size_t level);
    template <class T> bool run(JsonReader& reader, size_t level);
    void settle(JsonReader& reader, const uint8_t* p, uint64_t count, size_t level);
    bool strings_run(JsonReader& reader, size_t level);
    bool next(JsonReader& reader, size_t level, int64_t done, bool& more);
    bool encoded(JsonReader& reader, size_t level, std::string& bytes);
    bool encoded_content(JsonReader& reader);
    bool set_size(size_t level, int64_t size, size_t place);
    void make_room(size_t element_size, size_t elements);
    bool refuse(size_t level, std::string text);
    bool wrong(JsonReader& reader, size_t level);
    bool refuse_number(JsonReader& reader, const struct JsonNumber& number, size_t level, std::string_view range);

    const TensorSpec* spec_ = nullptr;
    size_t base_ = 0;        // level of the value that is read: 1 for an instance, 0 for a whole tensor
    uint64_t values_ = 0;
    std::array<int64_t, kMaxRank> sizes_{};  // by level, kUnknown until the first array of that level ends
    std::array<int64_t, kMaxRank> at_{};     // by level: how many elements the open array has so far
    int64_t leaf_ = kUnknown;                // the level of elements: the rank
    size_t deepest_ = 0;                     // no element can stand above this level
    uint64_t count_ = 0;                     // elements so far
    uint64_t run_began_ = 0;                 // how many there were before the innermost array that is read
    ElementBuffer buffer_;
    std::vector<std::string> strings_;       // the first count_ of them count
    uint64_t string_bytes_ = 0;              // what they were given since they were made: each keeps its largest memory
    std::string bytes_;                      // of a {"b64": ...}
    std::string error_;
};

}  // namespace ovms
