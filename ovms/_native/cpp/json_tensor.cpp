#include "json_tensor.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>
#include <type_traits>

#include "base64.hpp"
#include "convert.hpp"
#include "json_number.hpp"
#include "tensor_decode.hpp"
#include "utf8.hpp"

namespace ovms {
namespace {

constexpr size_t kLargestKept = 4 << 20;  // bytes of a buffer that a thread keeps for its next call
constexpr size_t kMostKeptStrings = 4096;
constexpr size_t kLongestEcho = 32;

// The element types that JSON numbers become. Sixteen-bit floats are converted from float64.
struct Half { uint16_t bits; };
struct Bfloat { uint16_t bits; };
struct Bool { uint8_t value; };

template <class T>
constexpr std::string_view range_of() {
    if constexpr (std::is_same_v<T, int8_t>) return "an integer from -128 to 127";
    else if constexpr (std::is_same_v<T, uint8_t>) return "an integer from 0 to 255";
    else if constexpr (std::is_same_v<T, int16_t>) return "an integer from -32768 to 32767";
    else if constexpr (std::is_same_v<T, uint16_t>) return "an integer from 0 to 65535";
    else if constexpr (std::is_same_v<T, int32_t>) return "an integer from -2147483648 to 2147483647";
    else if constexpr (std::is_same_v<T, uint32_t>) return "an integer from 0 to 4294967295";
    else if constexpr (std::is_same_v<T, int64_t>) return "an integer from -9223372036854775808 to 9223372036854775807";
    else if constexpr (std::is_same_v<T, uint64_t>) return "an integer from 0 to 18446744073709551615";
    else return "true, false, 1 or 0";
}

template <class T>
inline constexpr bool kIsFloat = std::is_floating_point_v<T> || std::is_same_v<T, Half> || std::is_same_v<T, Bfloat>;

template <class T>
void from_double(double value, T& element) {
    if constexpr (std::is_same_v<T, Half>) convert(DType::kF64, &value, DType::kF16, &element, 1);
    else if constexpr (std::is_same_v<T, Bfloat>) convert(DType::kF64, &value, DType::kBF16, &element, 1);
    else element = static_cast<T>(value);
}

// False if the number is none of the type's.
template <class T>
inline bool convert_number(const JsonNumber& number, T& element) {
    if constexpr (std::is_same_v<T, float>) {
        element = to_float(number);
        return true;
    } else if constexpr (kIsFloat<T>) {
        from_double(to_double(number), element);
        return true;
    } else {
        uint64_t magnitude = number.mantissa;
        if (!(number.whole && number.exponent == 0) && !to_integer(number, magnitude)) return false;
        if constexpr (std::is_same_v<T, Bool>) {
            element.value = static_cast<uint8_t>(magnitude);
            return magnitude == 0 || (magnitude == 1 && !number.negative);
        } else {
            constexpr auto max = static_cast<uint64_t>(std::numeric_limits<T>::max());
            constexpr uint64_t min = std::is_signed_v<T> ? max + 1 : 0;  // how far it goes below zero
            element = static_cast<T>(number.negative ? 0 - magnitude : magnitude);
            return magnitude <= (number.negative ? min : max);
        }
    }
}

// What is no number by the grammar, and a value of the type all the same.
template <class T>
bool literal(JsonReader& reader, T& element) {
    const auto is = [&](std::string_view word) {
        if (reader.remaining() < word.size() || std::memcmp(reader.p, word.data(), word.size()) != 0) return false;
        reader.p += word.size();
        return true;
    };
    if constexpr (kIsFloat<T>) {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        if (is("NaN")) from_double(std::numeric_limits<double>::quiet_NaN(), element);
        else if (is("Infinity") || is("Inf")) from_double(infinity, element);
        else if (is("-Infinity") || is("-Inf")) from_double(-infinity, element);
        else return false;
        return true;
    } else if constexpr (std::is_same_v<T, Bool>) {
        const bool yes = is("true");
        element.value = yes ? 1 : 0;
        return yes || is("false");
    } else {
        return false;
    }
}

}  // namespace

void ElementBuffer::reserve(size_t bytes) {
    if (bytes <= capacity_) return;
    auto* const memory = static_cast<uint8_t*>(std::realloc(data_.get(), bytes));
    if (memory == nullptr) throw std::bad_alloc();
    static_cast<void>(data_.release());
    data_.reset(memory);
    capacity_ = bytes;
}

void ElementBuffer::release() {
    if (capacity_ <= kLargestKept) return;
    data_.reset();
    capacity_ = 0;
}

void JsonTensor::start(const TensorSpec& spec) {
    spec_ = &spec;
    values_ = 0;
    sizes_.fill(kUnknown);
    leaf_ = kUnknown;
    deepest_ = 0;
    count_ = 0;
    error_.clear();
}

void JsonTensor::release() {
    buffer_.release();
    if (strings_.size() > kMostKeptStrings || string_bytes_ > kLargestKept) {
        std::vector<std::string>().swap(strings_);
        string_bytes_ = 0;
    }
    if (bytes_.capacity() > kLargestKept) std::string().swap(bytes_);
}

Dims JsonTensor::dims() const {
    Dims dims;
    const size_t rank = leaf_ == kUnknown ? deepest_ : static_cast<size_t>(leaf_);
    for (size_t i = 0; i < rank; ++i) dims.push(i < base_ ? static_cast<int64_t>(values_) : std::max<int64_t>(sizes_[i], 0));
    return dims;
}

std::string_view JsonTensor::content() const {
    return {reinterpret_cast<const char*>(buffer_.data()), count_ * info(spec_->dtype).size};
}

bool JsonTensor::read(JsonReader& reader, bool instance) {
    base_ = instance ? 1 : 0;
    ++values_;
    deepest_ = std::max(deepest_, base_);
    if (reader.peek() == '{' && spec_->dtype != DType::kString) return encoded_content(reader);
    size_t level = base_;
    for (;;) {
        if (reader.peek() == '[') {
            if (leaf_ != kUnknown && level >= static_cast<size_t>(leaf_)) return wrong(reader, level);
            if (level == kMaxRank) return refuse(level, "expected at most 16 dimensions");
            ++reader.p;
            at_[level] = 0;
            ++level;
            deepest_ = std::max(deepest_, level);
            if (!reader.take(']')) continue;
        } else {
            if (level < deepest_ || (leaf_ != kUnknown && level != static_cast<size_t>(leaf_))) return wrong(reader, level);
            leaf_ = static_cast<int64_t>(level);
            if (!elements(reader, level)) return false;
            if (level == base_) return true;
        }
        for (;;) {  // an array ended: what it stands in goes on, or ends too
            --level;
            if (!set_size(level, at_[level], level)) return false;
            if (level == base_) return true;
            ++at_[level - 1];
            if (reader.take(',')) break;
            if (!reader.take(']')) return reader.fail("',' or ']'");
        }
    }
}

// Elements until the ']' that ends their array, which is taken; one if the value is an element itself.
bool JsonTensor::elements(JsonReader& reader, size_t level) {
    switch (spec_->dtype) {
        case DType::kF32: return run<float>(reader, level);
        case DType::kF64: return run<double>(reader, level);
        case DType::kF16: return run<Half>(reader, level);
        case DType::kBF16: return run<Bfloat>(reader, level);
        case DType::kI8: return run<int8_t>(reader, level);
        case DType::kI16: return run<int16_t>(reader, level);
        case DType::kI32: return run<int32_t>(reader, level);
        case DType::kI64: return run<int64_t>(reader, level);
        case DType::kU8: return run<uint8_t>(reader, level);
        case DType::kU16: return run<uint16_t>(reader, level);
        case DType::kU32: return run<uint32_t>(reader, level);
        case DType::kU64: return run<uint64_t>(reader, level);
        case DType::kBool: return run<Bool>(reader, level);
        case DType::kString: return strings_run(reader, level);
    }
    return false;
}

// What run has read so far becomes known to the others.
void JsonTensor::settle(JsonReader& reader, const uint8_t* p, uint64_t count, size_t level) {
    reader.p = p;
    if (level != base_) at_[level - 1] = static_cast<int64_t>(count - run_began_);
    count_ = count;
}

template <class T>
bool JsonTensor::run(JsonReader& reader, size_t level) {
    // In registers, not in members: a byte that is written might be any member's for all the compiler knows.
    const uint8_t* p = reader.p;
    const uint8_t* const end = reader.end();
    uint64_t count = run_began_ = count_;
    uint64_t most = buffer_.capacity() / sizeof(T);
    uint8_t* data = buffer_.data();
    for (;;) {
        if (count == most) {
            settle(reader, p, count, level);
            make_room(sizeof(T), reader.remaining() / 2 + 1);
            most = buffer_.capacity() / sizeof(T);
            data = buffer_.data();
        }
        T element;
        JsonNumber number;
        p = JsonReader::after_space(p);
        if (const uint8_t* const after = scan_number(p, end, number); after != nullptr) [[likely]] {
            p = after;
            if (!convert_number(number, element)) {
                settle(reader, p, count, level);
                return refuse_number(reader, number, level, range_of<T>());
            }
        } else {
            settle(reader, p, count, level);
            if (!literal(reader, element)) return wrong(reader, level);
            p = reader.p;
        }
        std::memcpy(data + count * sizeof(T), &element, sizeof(T));
        ++count;
        const bool last = level == base_;
        if (!last) {
            p = JsonReader::after_space(p);
            if (*p == ',') [[likely]] {
                ++p;
                continue;
            }
        }
        settle(reader, p, count, level);
        return last || reader.take(']') || reader.fail("',' or ']'");
    }
}

bool JsonTensor::strings_run(JsonReader& reader, size_t level) {
    const uint64_t before = count_;
    bool more = true;
    while (more) {
        if (count_ == strings_.size()) strings_.resize(std::max<size_t>(16, strings_.size() * 2));
        std::string& element = strings_[count_];
        if (level != base_) at_[level - 1] = static_cast<int64_t>(count_ - before);
        if (reader.peek() == '{') {
            const bool good = encoded(reader, level, element);
            string_bytes_ += element.size();
            if (!good) return false;
        } else {
            std::string_view text;
            if (*reader.p != '"') return wrong(reader, level);
            if (!reader.string(text)) return false;
            element.assign(text);
            string_bytes_ += element.size();
        }
        ++count_;
        if (level == base_) return true;
        if (!next(reader, level, static_cast<int64_t>(count_ - before), more)) return false;
    }
    return true;
}

// What follows an element: more, or the end of its array.
inline bool JsonTensor::next(JsonReader& reader, size_t level, int64_t done, bool& more) {
    const uint8_t byte = reader.peek();
    if (byte != ',' && byte != ']') return reader.fail("',' or ']'");
    ++reader.p;
    more = byte == ',';
    if (!more) at_[level - 1] = done;
    return true;
}

// {"b64": "..."}
bool JsonTensor::encoded(JsonReader& reader, size_t level, std::string& bytes) {
    const uint8_t* const start = reader.p;
    std::string_view text;
    if (!reader.need('{')) return false;
    if (reader.peek() != '"') return reader.fail("\"b64\"");
    if (!reader.string(text)) return false;
    if (text != "b64") {
        reader.p = start;
        return wrong(reader, level);
    }
    if (!reader.need(':')) return false;
    if (!reader.at_value()) return reader.fail("a string");
    if (*reader.p != '"') return refuse(level, "expected base64 in \"b64\", got " + std::string(reader.kind()));
    if (!reader.string(text)) return false;
    bytes.clear();
    if (!decode_base64(text, bytes)) return refuse(level, "\"b64\" holds no base64 of the standard alphabet");
    if (reader.peek() == ',') return refuse(level, "expected \"b64\" alone in its object");
    return reader.take('}') || reader.fail("'}'");
}

// The bytes of the elements themselves: row-major, little-endian, in the shape of the model's input.
bool JsonTensor::encoded_content(JsonReader& reader) {
    if (!encoded(reader, base_, bytes_)) return false;
    const size_t size = info(spec_->dtype).size;
    const auto dims = [&](size_t i) { return spec_->dims[i].fixed() ? spec_->dims[i].min : kUnknown; };
    const size_t rank = spec_->dims.size();
    size_t unknown = rank;
    uint64_t known = 1;
    bool shaped = !spec_->any_rank && rank >= base_;
    for (size_t i = base_; shaped && i < rank; ++i) {
        if (dims(i) != kUnknown) known *= static_cast<uint64_t>(dims(i));
        else if (unknown == rank) unknown = i;
        else shaped = false;
    }
    if (!shaped) return refuse(base_, "\"b64\" does not tell the shape, and the model's has more than one unknown size");
    const uint64_t elements = bytes_.size() / size;
    const bool fits = bytes_.size() % size == 0 && (unknown == rank ? elements == known : known != 0 && elements % known == 0);
    if (!fits)
        return refuse(base_, "\"b64\" holds " + std::to_string(bytes_.size()) + " bytes, expected " +
                                 (unknown == rank ? "" : "a multiple of ") + std::to_string(known * size));
    if (spec_->dtype == DType::kBool && !is_plain_bool(bytes_)) return refuse(base_, "\"b64\" holds a bool that is neither 0 nor 1");
    // Empty arrays may have gone deeper than any element.
    if (deepest_ > rank || (leaf_ != kUnknown && leaf_ != static_cast<int64_t>(rank)))
        return refuse(base_, "the shape differs from that of the instances before");
    leaf_ = static_cast<int64_t>(rank);
    deepest_ = std::max(deepest_, rank);
    for (size_t i = base_; i < rank; ++i)
        if (!set_size(i, i == unknown ? static_cast<int64_t>(elements / known) : dims(i), base_)) return false;
    const size_t filled = count_ * size;
    // Instances come one after the other: room for twice as many, or each of them would be copied again for the next.
    const size_t wanted = filled + bytes_.size();
    if (wanted > buffer_.capacity()) buffer_.reserve(filled == 0 ? wanted : std::max(wanted, 2 * buffer_.capacity()));
    if (!bytes_.empty()) std::memcpy(buffer_.data() + filled, bytes_.data(), bytes_.size());
    count_ += elements;
    return true;
}

bool JsonTensor::set_size(size_t level, int64_t size, size_t place) {
    if (sizes_[level] == kUnknown) sizes_[level] = size;
    if (sizes_[level] == size) return true;
    return refuse(place, "expected " + std::to_string(sizes_[level]) + " elements as in those before, got " + std::to_string(size));
}

// Makes room for more elements, of which the text cannot hold more than so many.
void JsonTensor::make_room(size_t element_size, size_t elements) {
    uint64_t wanted = std::max<uint64_t>(16, 2 * count_);
    if (count_ == 0) {
        uint64_t model = 1;
        for (const Dimension& dim : spec_->dims)
            if (dim.fixed() && dim.min > 0) model = std::min<uint64_t>(model * std::min<uint64_t>(static_cast<uint64_t>(dim.min), kLargestTensor), kLargestTensor);
        wanted = std::max(wanted, model);
    }
    wanted = std::min<uint64_t>(wanted, count_ + elements);
    buffer_.reserve(wanted * element_size);
}

bool JsonTensor::refuse(size_t level, std::string text) {
    error_.clear();
    for (size_t i = base_; i < level; ++i) error_.append("[").append(std::to_string(at_[i])).append("]");
    error_.append(": ").append(text);
    return false;
}

// What stands at p cannot be an element or an array at this level.
bool JsonTensor::wrong(JsonReader& reader, size_t level) {
    const std::string_view kind = reader.kind();
    if (!reader.at_value()) return reader.fail("a value");
    const bool element = leaf_ != kUnknown ? level >= static_cast<size_t>(leaf_) : level >= deepest_;
    const std::string_view expected = !element                            ? "array"
                                      : spec_->dtype == DType::kString ? "string"
                                      : spec_->dtype == DType::kBool   ? "boolean"
                                                                         : "number";
    if (element && kind == "number" && spec_->dtype != DType::kString) return reader.fail("a number");  // 01, 1., -
    return refuse(level, "expected " + std::string(expected) + ", got " + std::string(kind));
}

bool JsonTensor::refuse_number(JsonReader& reader, const JsonNumber& number, size_t level, std::string_view range) {
    const std::string_view text(reinterpret_cast<const char*>(number.begin), static_cast<size_t>(reader.p - number.begin));
    return refuse(level, "expected " + std::string(range) + ", got " + std::string(cut_utf8(text, kLongestEcho)));
}

}  // namespace ovms
