#include "tensor_decode.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <vector>

#include "convert.hpp"
#include "proto_wire.hpp"

namespace ovms {
namespace {

// Fills dst with converted elements in order, never more than count of them.
class ListWriter {
public:
    ListWriter(DType from, DType to, void* dst, uint64_t count)
        : from_(from), to_(to), dst_(static_cast<uint8_t*>(dst)), count_(count) {}

    uint64_t room() const { return count_ - filled_; }
    uint64_t filled() const { return filled_; }

    // elements raw elements of the source dtype, side by side at any address; elements <= room()
    void append(const void* raw, uint64_t elements) {
        convert(from_, raw, to_, dst_ + filled_ * info(to_).size, elements);
        filled_ += elements;
    }

    // What is left takes the last value, or zero when there is none.
    void finish() {
        const size_t size = info(to_).size;
        if (filled_ == 0) {
            if (count_ != 0) std::memset(dst_, 0, count_ * size);
            return;
        }
        // Doubling copies: a broadcast costs about a memcpy, not a loop of small ones.
        if (filled_ == count_) return;
        uint8_t* const rest = dst_ + filled_ * size;
        const uint64_t total = (count_ - filled_) * size;
        std::memcpy(rest, rest - size, size);
        for (uint64_t done = size; done < total;) {
            const uint64_t step = std::min(done, total - done);
            std::memcpy(rest + done, rest, step);
            done += step;
        }
    }

private:
    DType from_, to_;
    uint8_t* dst_;
    uint64_t count_;
    uint64_t filled_ = 0;
};

Status too_many(const TensorRef& tensor, DType from, uint64_t count) {
    return invalid_argument("more values than the " + std::to_string(count) + " elements of shape " +
                            tensor.dims.text() + ", dtype " + std::string(info(from).tf_name));
}

Status wire_failure(const WireError& error) { return invalid_argument("typed list cannot be read: " + error.text()); }

// Calls visit(reader, wire_type) at every occurrence of field in the tensor's pieces; visit reads the value and
// returns a Status.
template <class Visit>
Status for_each_occurrence(const TensorRef& tensor, uint32_t wanted, Visit&& visit) {
    const size_t pieces = tensor.body.empty() ? 0 : 1 + tensor.more.size();
    for (size_t i = 0; i < pieces; ++i) {
        const std::string_view piece = i == 0 ? tensor.body : tensor.more[i - 1];
        const auto* data = reinterpret_cast<const uint8_t*>(piece.data());
        WireError error;
        ByteReader reader(data, piece.size(), data, &error);
        while (!reader.at_end()) {
            uint32_t field, wire_type;
            if (!reader.tag(field, wire_type)) return wire_failure(error);
            if (field == wanted) {
                if (Status status = visit(reader, wire_type); !status.ok()) return status;
                if (error.reason != nullptr) return wire_failure(error);
            } else if (!skip_field(reader, field, wire_type, kTensorDepth)) {
                return wire_failure(error);
            }
        }
    }
    return {};
}

// float_val, double_val: fixed-width elements, as they stand in memory
Status decode_fixed_list(const TensorRef& tensor, DType from, ListWriter& writer, uint64_t count) {
    const size_t width = info(from).size;
    const uint32_t element_type = width == 4 ? kFixed32 : kFixed64;
    return for_each_occurrence(tensor, info(from).list_field, [&](ByteReader& reader, uint32_t wire_type) -> Status {
        std::string_view bytes;
        if (wire_type == kLengthDelimited) {
            if (!reader.length_delimited(bytes)) return {};
            const uint64_t elements = bytes.size() / width;
            if (elements > writer.room()) return too_many(tensor, from, count);
            writer.append(bytes.data(), elements);
        } else if (wire_type == element_type) {
            size_t elements = 0;
            if (!reader.unpacked_run(info(from).list_field, wire_type, width, bytes, elements)) return {};
            if (elements > writer.room()) return too_many(tensor, from, count);
            std::array<uint8_t, 4096> stage;
            const size_t batch = stage.size() / width;
            for (size_t i = 0; i < elements;) {
                const size_t n = std::min(batch, elements - i);
                if (width == 4)
                    for (size_t k = 0; k < n; ++k) std::memcpy(&stage[k * 4], bytes.data() + (i + k) * 5, 4);
                else
                    for (size_t k = 0; k < n; ++k) std::memcpy(&stage[k * 8], bytes.data() + (i + k) * 9, 8);
                writer.append(stage.data(), n);
                i += n;
            }
        } else {
            (void)skip_field(reader, info(from).list_field, wire_type, kTensorDepth);
        }
        return {};
    });
}

// One varint as an element of T, or false if an int32 field's value does not fit T. Half floats are bit patterns.
template <class T, bool kChecked>
bool narrow(uint64_t raw, T& value) {
    if constexpr (kChecked) {
        const auto wide = static_cast<int32_t>(static_cast<uint32_t>(raw));
        value = static_cast<T>(wide);
        return wide >= std::numeric_limits<T>::min() && wide <= std::numeric_limits<T>::max();
    } else {
        value = static_cast<T>(raw);
        return true;
    }
}

template <class T, bool kChecked, bool kBool = false>
Status decode_varint_list(const TensorRef& tensor, DType from, ListWriter& writer, uint64_t count) {
    std::array<T, 1024> stage;
    size_t staged = 0;
    auto read_one = [&](ByteReader& reader) -> Status {
        uint64_t raw;
        if (!reader.varint(raw)) return {};
        if (staged == writer.room()) return too_many(tensor, from, count);
        if constexpr (kBool) raw = raw != 0;
        if (!narrow<T, kChecked>(raw, stage[staged]))
            return invalid_argument("value " + std::to_string(static_cast<int32_t>(static_cast<uint32_t>(raw))) +
                                    " does not fit " + std::string(info(from).tf_name));
        if (++staged == stage.size()) {
            writer.append(stage.data(), staged);
            staged = 0;
        }
        return {};
    };
    const uint32_t field = info(from).list_field;
    Status status = for_each_occurrence(tensor, field, [&](ByteReader& reader, uint32_t wire_type) -> Status {
        if (wire_type == kVarint) return read_one(reader);
        if (wire_type != kLengthDelimited) {
            (void)skip_field(reader, field, wire_type, kTensorDepth);
            return {};
        }
        std::string_view bytes;
        if (!reader.length_delimited(bytes)) return {};
        ByteReader run = reader.sub(bytes);
        while (!run.at_end())
            if (Status one = read_one(run); !one.ok()) return one;
        return {};
    });
    if (status.ok() && staged != 0) writer.append(stage.data(), staged);
    return status;
}

Status decode_list(const TensorRef& tensor, DType from, ListWriter& writer, uint64_t count) {
    switch (from) {
        case DType::kF32:
        case DType::kF64: return decode_fixed_list(tensor, from, writer, count);
        case DType::kF16:
        case DType::kBF16:
        case DType::kU16: return decode_varint_list<uint16_t, true>(tensor, from, writer, count);
        case DType::kI8: return decode_varint_list<int8_t, true>(tensor, from, writer, count);
        case DType::kU8: return decode_varint_list<uint8_t, true>(tensor, from, writer, count);
        case DType::kI16: return decode_varint_list<int16_t, true>(tensor, from, writer, count);
        case DType::kI32: return decode_varint_list<int32_t, false>(tensor, from, writer, count);
        case DType::kI64: return decode_varint_list<int64_t, false>(tensor, from, writer, count);
        case DType::kU32: return decode_varint_list<uint32_t, false>(tensor, from, writer, count);
        case DType::kU64: return decode_varint_list<uint64_t, false>(tensor, from, writer, count);
        case DType::kBool: return decode_varint_list<uint8_t, false, true>(tensor, from, writer, count);
        case DType::kString: break;
    }
    return {Code::kInternal, "strings are not numbers"};
}

}  // namespace

std::string Dims::text() const {
    std::string text = "[";
    for (size_t i = 0; i < std::min(rank, kMaxRank); ++i)
        text += (i == 0 ? "" : ", ") + std::to_string(size[i]);
    return text + (rank > kMaxRank ? ", ...]" : "]");
}

bool element_count(const Dims& dims, uint64_t& count) {
    if (dims.rank > kMaxRank) return false;
    int64_t product = 1;
    for (size_t i = 0; i < dims.rank; ++i)
        if (dims.size[i] < 0 || __builtin_mul_overflow(product, dims.size[i], &product)) return false;
    count = static_cast<uint64_t>(product);
    return true;
}

Status check_content_size(const TensorRef& tensor, DType from, uint64_t count) {
    const size_t size = info(from).size;
    if (tensor.content.size() % size == 0 && tensor.content.size() / size == count) return {};
    return invalid_argument("tensor_content has " + std::to_string(tensor.content.size()) + " bytes, which is not " +
                            std::to_string(count) + " elements of " + std::to_string(size) + " bytes (shape " +
                            tensor.dims.text() + ", dtype " + std::string(info(from).tf_name) + ")");
}

Status decode_numbers(const TensorRef& tensor, DType from, DType to, void* dst, uint64_t count) {
    if (!tensor.content.empty()) {
        if (Status status = check_content_size(tensor, from, count); !status.ok()) return status;
        convert(from, tensor.content.data(), to, dst, count);
        return {};
    }
    ListWriter writer(from, to, dst, count);
    if (tensor.has_list)
        if (Status status = decode_list(tensor, from, writer, count); !status.ok()) return status;
    writer.finish();
    return {};
}

Status decode_strings(const TensorRef& tensor, std::string* dst, uint64_t count) {
    if (!tensor.content.empty())
        return invalid_argument("DT_STRING must be sent as string_val, not as tensor_content");
    uint64_t filled = 0;
    Status status = for_each_occurrence(tensor, 8, [&](ByteReader& reader, uint32_t wire_type) -> Status {
        std::string_view value;
        if (wire_type != kLengthDelimited) {
            (void)skip_field(reader, 8, wire_type, kTensorDepth);
            return {};
        }
        if (!reader.length_delimited(value)) return {};
        if (filled == count) return too_many(tensor, DType::kString, count);
        dst[filled++].assign(value);
        return {};
    });
    if (!status.ok()) return status;
    // A long last value times a large shape is memory that the peer never sent.
    if (filled != 0 && filled != count && dst[filled - 1].size() > kLargestTensor / (count - filled))
        return invalid_argument("the last value, repeated to shape " + tensor.dims.text() + ", takes more than 1 GiB");
    for (uint64_t i = filled; i < count; ++i) {
        if (filled == 0) dst[i].clear();
        else dst[i] = dst[filled - 1];
    }
    return {};
}

bool is_plain_bool(std::string_view content) {
    uint8_t seen = 0;
    for (const char byte : content) seen |= static_cast<uint8_t>(byte);
    return seen <= 1;
}

}  // namespace ovms
