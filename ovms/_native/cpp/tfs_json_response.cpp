#include "tfs_json_response.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "base64.hpp"
#include "number_text.hpp"
#include "utf8.hpp"

namespace ovms {
namespace {

constexpr uint64_t kLargestBody = INT32_MAX;
constexpr uint64_t kTooLarge = kLargestBody + 1;  // where bounds stop to grow

char* copy(char* out, std::string_view text) {
    std::memcpy(out, text.data(), text.size());
    return out + text.size();
}

// Control characters, quotes and backslashes escaped. At most six characters for a byte.
char* write_escaped(char* out, std::string_view text) {
    constexpr char digits[] = "0123456789abcdef";
    *out++ = '"';
    for (const char c : text) {
        const auto byte = static_cast<uint8_t>(c);
        if (byte >= 0x20 && c != '"' && c != '\\') {
            *out++ = c;
            continue;
        }
        *out++ = '\\';
        constexpr std::string_view special = "\"\\\b\f\n\r\t";
        constexpr std::string_view letters = "\"\\bfnrt";
        if (const size_t which = special.find(c); which != std::string_view::npos) {
            *out++ = letters[which];
        } else {
            out = copy(out, "u00");
            *out++ = digits[byte >> 4];
            *out++ = digits[byte & 15];
        }
    }
    *out++ = '"';
    return out;
}

char* write_string(char* out, std::string_view bytes, bool encoded) {
    if (!encoded && is_utf8(bytes)) return write_escaped(out, bytes);
    out = copy(out, "{\"b64\":\"");
    return copy(encode_base64(bytes, out), "\"}");
}

// The longest text of one element
size_t longest_element(DType dtype) {
    switch (dtype) {
        case DType::kI8:
        case DType::kU8:
        case DType::kI16:
        case DType::kU16:
        case DType::kBool: return 6;
        case DType::kI32:
        case DType::kU32: return 11;
        case DType::kI64:
        case DType::kU64: return 20;
        case DType::kF64: return 25;
        default: return 20;  // "-1234567000000000.0"
    }
}

// The elements of one innermost array, commas between them.
char* write_run(char* out, const OutputView& output, uint64_t first, uint64_t count) {
    const auto each = [&]<class T>(const T* data, auto&& write) {
        for (uint64_t i = first; i < first + count; ++i) {
            out = write(out, data[i]);
            *out++ = ',';
        }
        return count == 0 ? out : out - 1;
    };
    const auto signed_ = [](char* p, int64_t value) { return write_integer(p, value); };
    const auto unsigned_ = [](char* p, uint64_t value) { return write_unsigned(p, value); };
    switch (output.dtype) {
        case DType::kF32: return each(static_cast<const float*>(output.data), write_float);
        case DType::kF64: return each(static_cast<const double*>(output.data), write_double);
        case DType::kF16: return each(static_cast<const uint16_t*>(output.data), write_half);
        case DType::kBF16: return each(static_cast<const uint16_t*>(output.data), write_bfloat);
        case DType::kI8: return each(static_cast<const int8_t*>(output.data), signed_);
        case DType::kI16: return each(static_cast<const int16_t*>(output.data), signed_);
        case DType::kI32: return each(static_cast<const int32_t*>(output.data), signed_);
        case DType::kI64: return each(static_cast<const int64_t*>(output.data), signed_);
        case DType::kU8: return each(static_cast<const uint8_t*>(output.data), unsigned_);
        case DType::kU16: return each(static_cast<const uint16_t*>(output.data), unsigned_);
        case DType::kU32: return each(static_cast<const uint32_t*>(output.data), unsigned_);
        case DType::kU64: return each(static_cast<const uint64_t*>(output.data), unsigned_);
        case DType::kBool:
            return each(static_cast<const uint8_t*>(output.data),
                        [](char* p, uint8_t value) { return copy(p, value != 0 ? "true" : "false"); });
        case DType::kString: {
            const bool encoded = output.name.ends_with("_bytes");
            return each(static_cast<const std::string*>(output.data),
                        [encoded](char* p, const std::string& text) { return write_string(p, text, encoded); });
        }
    }
    return out;
}

// The part of a tensor from element first on that dimensions level and above span.
char* write_nested(char* out, const OutputView& output, size_t level, uint64_t first, uint64_t count) {
    if (level == output.dims.rank) return write_run(out, output, first, 1);
    *out++ = '[';
    const auto size = static_cast<uint64_t>(output.dims.size[level]);
    if (level + 1 == output.dims.rank) {
        out = write_run(out, output, first, size);
    } else {
        for (uint64_t i = 0; i < size; ++i) {
            if (i != 0) *out++ = ',';
            out = write_nested(out, output, level + 1, first + i * (count / size), count / size);
        }
    }
    *out++ = ']';
    return out;
}

uint64_t longest_tensor(const OutputView& output) {
    uint64_t arrays = 1, size = 2;
    for (size_t i = 0; i < output.dims.rank; ++i) {
        size = std::min(kTooLarge, size + 3 * arrays);  // brackets and a comma
        const auto dim = static_cast<uint64_t>(output.dims.size[i]);
        // Many empty arrays are no elements, and text all the same.
        arrays = dim != 0 && arrays > kTooLarge / dim ? kTooLarge : arrays * dim;
    }
    if (output.dtype != DType::kString) return size + output.count * (longest_element(output.dtype) + 1);
    const auto* strings = static_cast<const std::string*>(output.data);
    for (uint64_t i = 0; i < output.count; ++i) size += 6 * strings[i].size() + 16;
    return size;
}

// All bodies are written with an upper bound of their size at first.
template <class Write>
Status with_bound(uint64_t bound, const ByteSink& sink, Write&& write) {
    bound += kLongestNumber;  // a number is stored 16 bytes at a time
    if (bound > kLargestBody)
        return {Code::kResourceExhausted, "the answer could have " + std::to_string(bound) + " bytes; a body may have 2147483647"};
    uint8_t* const out = sink.allocate(sink.context, bound);
    if (out == nullptr) return {Code::kResourceExhausted, "out of memory for an answer of " + std::to_string(bound) + " bytes"};
    char* const begin = reinterpret_cast<char*>(out);
    sink.shrink(sink.context, static_cast<size_t>(write(begin) - begin));
    return {};
}

char* write_name(char* out, std::string_view name) {
    out = write_escaped(out, name);
    *out++ = ':';
    return out;
}

char* write_columns(char* out, const std::vector<OutputView>& outputs) {
    out = copy(out, "{\"outputs\":");
    if (outputs.size() == 1) {
        out = write_nested(out, outputs[0], 0, 0, outputs[0].count);
    } else {
        *out++ = '{';
        for (const OutputView& output : outputs) {
            if (&output != &outputs[0]) *out++ = ',';
            out = write_nested(write_name(out, output.name), output, 0, 0, output.count);
        }
        *out++ = '}';
    }
    *out++ = '}';
    return out;
}

char* write_rows(char* out, const std::vector<OutputView>& outputs, uint64_t rows) {
    out = copy(out, "{\"predictions\":");
    if (outputs.size() == 1) {
        out = write_nested(out, outputs[0], 0, 0, outputs[0].count);
    } else {
        *out++ = '[';
        for (uint64_t row = 0; row < rows; ++row) {
            if (row != 0) *out++ = ',';
            *out++ = '{';
            for (const OutputView& output : outputs) {
                if (&output != &outputs[0]) *out++ = ',';
                const uint64_t count = output.count / rows;
                out = write_nested(write_name(out, output.name), output, 1, row * count, count);
            }
            *out++ = '}';
        }
        *out++ = ']';
    }
    *out++ = '}';
    return out;
}

Status check_rows(const std::vector<OutputView>& outputs) {
    for (const OutputView& output : outputs) {
        if (output.dims.rank == 0)
            return invalid_argument("output '" + std::string(output.name) +
                                    "' is a scalar and cannot be told by instance; ask with \"inputs\"");
        if (output.dims.size[0] != outputs[0].dims.size[0])
            return invalid_argument("the outputs differ in their first dimension and cannot be told by instance: shape " +
                                    output.dims.text() + " of '" + std::string(output.name) + "', " + outputs[0].dims.text() +
                                    " of '" + std::string(outputs[0].name) + "'; ask with \"inputs\"");
    }
    return {};
}

}  // namespace

Status pack_tfs_json(const std::vector<OutputView>& outputs, bool row, const ByteSink& sink) {
    if (row)
        if (Status status = check_rows(outputs); !status.ok()) return status;
    const uint64_t rows = row && outputs.size() > 1 ? static_cast<uint64_t>(outputs[0].dims.size[0]) : 1;
    uint64_t bound = 32;
    for (const OutputView& output : outputs)
        bound += longest_tensor(output) + std::min(rows, kTooLarge) * (6 * output.name.size() + 8);
    return with_bound(bound, sink, [&](char* out) { return row ? write_rows(out, outputs, rows) : write_columns(out, outputs); });
}

Status pack_json_tensor(const OutputView& output, const ByteSink& sink) {
    return with_bound(longest_tensor(output), sink, [&](char* out) { return write_nested(out, output, 0, 0, output.count); });
}

}  // namespace ovms
