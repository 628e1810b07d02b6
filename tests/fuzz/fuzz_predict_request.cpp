// libFuzzer target: the bytes of a PredictRequest -> parse, decode into every dtype, pack again.
//
// Besides what the sanitizers see (every buffer here has exactly the size it needs), the target checks that views stay
// inside the message, that a failure has a reason and a place, that a tensor's verdict does not depend on the dtype it
// is converted to, that lists mean what reading them one value at a time gives, and that what is packed reads back as
// the same values.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "dtype.hpp"
#include "proto_wire.hpp"
#include "tensor_decode.hpp"
#include "tfs_request.hpp"
#include "tfs_response.hpp"

using namespace ovms;

namespace {

constexpr uint64_t kMostElements = 4096;  // larger shapes would only slow the search

#define REQUIRE(condition)                                                  \
    do {                                                                    \
        if (!(condition)) {                                                 \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                   \
        }                                                                   \
    } while (false)

struct Message {
    const uint8_t* data;
    size_t size;

    bool contains(std::string_view view) const {
        if (view.empty()) return true;
        const auto* begin = reinterpret_cast<const uint8_t*>(view.data());
        return begin >= data && begin + view.size() <= data + size;
    }
};

// Memory of exactly the size asked for, so that one byte too many is a finding.
uint8_t* allocate(void* context, size_t size) {
    auto& memory = *static_cast<std::unique_ptr<uint8_t[]>*>(context);
    REQUIRE(memory == nullptr);
    memory = std::make_unique<uint8_t[]>(size);
    return memory.get();
}

// The bytes that pack_tensor writes; their number is in the size that the sink was asked for.
std::string packed(const OutputView& output, bool typed_lists) {
    struct Sized {
        std::unique_ptr<uint8_t[]> memory;
        size_t size = 0;
    } sized;
    const ByteSink sink{[](void* context, size_t size) {
                            auto& into = *static_cast<Sized*>(context);
                            into.size = size;
                            return allocate(&into.memory, size);
                        },
                        nullptr, &sized};
    REQUIRE(pack_tensor(output, typed_lists, sink).ok());
    return {reinterpret_cast<const char*>(sized.memory.get()), sized.size};
}

TensorRef parsed(const std::string& bytes, const OutputView& output) {
    TensorRef tensor;
    WireError error;
    REQUIRE(parse_tensor(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), tensor, error));
    REQUIRE(tensor.tf_dtype == info(output.dtype).tf);
    uint64_t count = 0;
    REQUIRE(element_count(tensor.dims, count) && count == output.count);
    return tensor;
}

// The values of the tensor's varint list read plainly, one after the other: an oracle for the reading in blocks.
std::vector<uint64_t> plain_varints(const TensorRef& tensor, uint32_t list_field) {
    std::vector<uint64_t> values;
    std::vector<std::string_view> pieces = tensor.more;
    pieces.insert(pieces.begin(), tensor.body);
    for (const std::string_view piece : pieces) {
        const auto* data = reinterpret_cast<const uint8_t*>(piece.data());
        WireError error;
        ByteReader reader(data, piece.size(), data, &error);
        while (!reader.at_end()) {
            uint32_t field, wire_type;
            std::string_view run;
            REQUIRE(reader.tag(field, wire_type));
            if (field == list_field && wire_type == kVarint) {
                REQUIRE(reader.varint(values.emplace_back()));
            } else if (field == list_field && wire_type == kLengthDelimited) {
                REQUIRE(reader.length_delimited(run));
                for (ByteReader packed = reader.sub(run); !packed.at_end();)
                    REQUIRE(packed.varint(values.emplace_back()));
            } else {
                REQUIRE(skip_field(reader, field, wire_type, kTensorDepth));
            }
        }
    }
    return values;
}

// Whether reading the list must succeed, with the bytes that it must give.
template <class T, bool kFits>
bool expected_list(const std::vector<uint64_t>& raw, uint64_t count, std::string& bytes) {
    if (raw.size() > count) return false;
    std::vector<T> values(count);
    for (size_t i = 0; i < count && !raw.empty(); ++i) {
        const uint64_t one = raw[std::min(i, raw.size() - 1)];
        values[i] = static_cast<T>(one);
        if (kFits && static_cast<int32_t>(values[i]) != static_cast<int32_t>(static_cast<uint32_t>(one))) return false;
    }
    bytes.assign(reinterpret_cast<const char*>(values.data()), count * sizeof(T));
    return true;
}

void check_varint_list(const TensorRef& tensor, const OutputView& output, bool accepted, const uint8_t* values) {
    const DTypeInfo& dtype = info(output.dtype);
    if (!tensor.content.empty() || dtype.dtype == DType::kF32 || dtype.dtype == DType::kF64) return;
    std::vector<uint64_t> raw = plain_varints(tensor, dtype.list_field);
    std::string bytes;
    bool fits = false;
    switch (dtype.dtype) {
        case DType::kI8: fits = expected_list<int8_t, true>(raw, output.count, bytes); break;
        case DType::kU8: fits = expected_list<uint8_t, true>(raw, output.count, bytes); break;
        case DType::kI16: fits = expected_list<int16_t, true>(raw, output.count, bytes); break;
        case DType::kBool:
            for (uint64_t& one : raw) one = one != 0;
            fits = expected_list<uint8_t, false>(raw, output.count, bytes);
            break;
        default:
            if (dtype.size == 2) fits = expected_list<uint16_t, true>(raw, output.count, bytes);
            else if (dtype.size == 4) fits = expected_list<uint32_t, false>(raw, output.count, bytes);
            else fits = expected_list<uint64_t, false>(raw, output.count, bytes);
    }
    REQUIRE(fits == accepted);
    REQUIRE(!accepted || std::memcmp(values, bytes.data(), bytes.size()) == 0);
}

void check_strings(const TensorRef& tensor, OutputView output) {
    std::vector<std::string> values(output.count);
    const Status status = decode_strings(tensor, values.data(), output.count);
    REQUIRE(status.ok() == status.message.empty());
    if (!status.ok()) return;
    uint64_t bytes = 0;
    for (const std::string& value : values) bytes += value.size();
    if (bytes > kMostElements * 16) return;
    output.data = values.data();
    const std::string again = packed(output, false);
    std::vector<std::string> read(output.count);
    REQUIRE(decode_strings(parsed(again, output), read.data(), output.count).ok());
    REQUIRE(read == values);
}

void check_numbers(const TensorRef& tensor, OutputView output) {
    const size_t size = info(output.dtype).size;
    auto values = std::make_unique<uint8_t[]>(output.count * size);
    const Status status = decode_numbers(tensor, output.dtype, output.dtype, values.get(), output.count);
    REQUIRE(status.ok() == status.message.empty());
    check_varint_list(tensor, output, status.ok(), values.get());
    for (const DTypeInfo& to : kDTypes) {
        if (to.dtype == DType::kString) continue;
        const auto converted = std::make_unique<uint8_t[]>(output.count * to.size);
        REQUIRE(decode_numbers(tensor, output.dtype, to.dtype, converted.get(), output.count).ok() == status.ok());
        if (to.dtype == DType::kBool && status.ok())
            REQUIRE(is_plain_bool({reinterpret_cast<const char*>(converted.get()), output.count}));
    }
    if (!status.ok()) return;
    output.data = values.get();
    for (const bool typed_lists : {false, true}) {
        const std::string again = packed(output, typed_lists);
        const auto read = std::make_unique<uint8_t[]>(output.count * size);
        REQUIRE(decode_numbers(parsed(again, output), output.dtype, output.dtype, read.get(), output.count).ok());
        REQUIRE(std::memcmp(read.get(), values.get(), output.count * size) == 0);
    }
}

void check_tensor(const Message& message, const TensorRef& tensor) {
    REQUIRE(message.contains(tensor.content) && message.contains(tensor.body));
    for (const std::string_view piece : tensor.more) REQUIRE(message.contains(piece));
    (void)is_plain_bool(tensor.content);
    (void)tensor.dims.text();
    const DTypeInfo* dtype = from_tf(tensor.tf_dtype);
    OutputView output;
    if (dtype == nullptr || !element_count(tensor.dims, output.count) || output.count > kMostElements) return;
    output.dtype = dtype->dtype;
    output.dims = tensor.dims;
    if (dtype->dtype == DType::kString) check_strings(tensor, output);
    else check_numbers(tensor, output);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static PredictRequestRef request;  // kept between messages, as the server keeps it
    WireError error;
    const Message message{data, size};
    if (!parse_predict_request(data, size, request, error)) {
        REQUIRE(error.reason != nullptr && error.offset <= size && !error.text().empty());
        return 0;
    }
    REQUIRE(error.reason == nullptr);
    REQUIRE(!(request.model_spec.has_version && request.model_spec.has_label));
    REQUIRE(message.contains(request.model_spec.name) && message.contains(request.model_spec.label));
    for (const std::string_view name : request.output_filter) REQUIRE(message.contains(name));
    for (const NamedTensorRef& input : request.inputs) {
        REQUIRE(message.contains(input.name));
        check_tensor(message, input.tensor);
    }
    return 0;
}
