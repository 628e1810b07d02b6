#include "tensor_decode.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>
#include <vector>

#include "convert.hpp"
#include "proto_wire.hpp"
#include "varint_block.hpp"

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

// elements values of kWidth bytes each, kWidth + 1 apart
template <size_t kWidth>
void gather(const char* src, size_t elements, uint8_t* dst) {
    size_t i = 0;
    if constexpr (kWidth == 4)
        for (; i + 2 <= elements; i += 2) {  // two at a time: a store is what limits this loop
            uint32_t first, second;
            std::memcpy(&first, src + i * 5, 4);
            std::memcpy(&second, src + i * 5 + 5, 4);
            const uint64_t both = first | static_cast<uint64_t>(second) << 32;
            std::memcpy(dst + i * 4, &both, 8);
        }
    for (; i < elements; ++i) std::memcpy(dst + i * kWidth, src + i * (kWidth + 1), kWidth);
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
            std::array<uint8_t, 4096> stage;  // as much at once as the first cache keeps
            size_t elements = 0;
            if (!reader.unpacked_run(info(from).list_field, wire_type, width, stage.size() / width, bytes, elements))
                return {};
            if (elements > writer.room()) return too_many(tensor, from, count);
            if (width == 4) gather<4>(bytes.data(), elements, stage.data());
            else gather<8>(bytes.data(), elements, stage.data());
            writer.append(stage.data(), elements);
        } else {
            (void)skip_field(reader, info(from).list_field, wire_type, kTensorDepth);
        }
        return {};
    });
}

// The other lists, as T: kChecked if their values, of an int32 field, have to fit it. Half floats are bit patterns.
template <class T, bool kChecked>
Status decode_varint_list(const TensorRef& tensor, DType from, ListWriter& writer, uint64_t count) {
    const uint32_t field = info(from).list_field;
    std::array<T, 1024> stage;
    size_t staged = 0;
    const auto flush = [&] {
        writer.append(stage.data(), staged);
        staged = 0;
    };
    auto read_one = [&](ByteReader& reader) -> Status {
        uint64_t raw;
        if (!reader.varint(raw)) return {};
        if (staged == writer.room()) return too_many(tensor, from, count);
        uint32_t misfit = 0;
        stage[staged] = narrow<T, kChecked>(raw, misfit);
        if (misfit != 0)
            return invalid_argument("value " + std::to_string(static_cast<int32_t>(static_cast<uint32_t>(raw))) +
                                    " does not fit " + std::string(info(from).tf_name));
        if (++staged == stage.size()) flush();
        return {};
    };
    // As many values as a block of the run has. False where there is none, or one that is for read_one to refuse.
    auto read_many = [&]<bool kTagged>(ByteReader& reader, std::bool_constant<kTagged>) -> bool {
        if (stage.size() - staged < kBlock) flush();
        if (reader.remaining() < kBlockReach || writer.room() - staged < kBlock) return false;
        const VarintBlock block = find_varints<kTagged>(reader.position(), static_cast<uint8_t>(field << 3));
        if (!read_block<T, kTagged, kChecked>(reader.position(), block, &stage[staged])) return false;
        std::string_view bytes;
        staged += block.count();
        return block.ends != 0 && reader.bytes(block.bytes(), bytes);
    };
    Status status = for_each_occurrence(tensor, field, [&](ByteReader& reader, uint32_t wire_type) -> Status {
        if (wire_type == kVarint) {
            if (Status one = read_one(reader); !one.ok()) return one;
            while (field < 16 && read_many(reader, std::true_type{})) {}
            return {};
        }
        if (wire_type != kLengthDelimited) {
            (void)skip_field(reader, field, wire_type, kTensorDepth);
            return {};
        }
        std::string_view bytes;
        if (!reader.length_delimited(bytes)) return {};
        ByteReader run = reader.sub(bytes);
        while (!run.at_end()) {
            if (read_many(run, std::false_type{})) continue;
            if (Status one = read_one(run); !one.ok()) return one;
        }
        return {};
    });
    if (status.ok()) flush();
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
        case DType::kBool: return decode_varint_list<bool, false>(tensor, from, writer, count);
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
