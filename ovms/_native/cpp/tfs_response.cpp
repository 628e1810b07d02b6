#include "tfs_response.hpp"

#include <cstring>
#include <string>

#include "proto_writer.hpp"

namespace ovms {
namespace {

constexpr std::string_view kSignatureName = "serving_default";
constexpr uint64_t kLargestMessage = INT32_MAX;  // protobuf's own limit

// The sizes of one tensor's parts, found in the size pass and used in the write pass.
struct Layout {
    uint64_t shape = 0;    // TensorShapeProto
    uint64_t values = 0;   // bytes of content, or of the packed list; for strings: of all fields with their tags
    bool content = false;
    uint64_t tensor = 0;   // TensorProto
    uint64_t entry = 0;    // map entry
};

// Calls visit(value as it goes on the wire) for each element of a varint list.
template <class Visit>
void for_each_varint(const OutputView& output, Visit&& visit) {
    const auto each = [&]<class T>(const T* data) {
        // A negative int32 or int64 is sign-extended to 64 bits: ten bytes on the wire.
        for (uint64_t i = 0; i < output.count; ++i) visit(static_cast<uint64_t>(static_cast<int64_t>(data[i])));
    };
    switch (output.dtype) {
        case DType::kI8: return each(static_cast<const int8_t*>(output.data));
        case DType::kI16: return each(static_cast<const int16_t*>(output.data));
        case DType::kI32: return each(static_cast<const int32_t*>(output.data));
        case DType::kI64:
        case DType::kU64: return each(static_cast<const int64_t*>(output.data));
        case DType::kU8:
        case DType::kBool: return each(static_cast<const uint8_t*>(output.data));
        case DType::kF16:
        case DType::kBF16:
        case DType::kU16: return each(static_cast<const uint16_t*>(output.data));
        case DType::kU32: return each(static_cast<const uint32_t*>(output.data));
        default: return;
    }
}

uint64_t list_size(const OutputView& output) {
    if (output.dtype == DType::kF32 || output.dtype == DType::kF64) return output.count * info(output.dtype).size;
    uint64_t size = 0;
    if (output.dtype == DType::kString) {
        const auto* strings = static_cast<const std::string*>(output.data);
        for (uint64_t i = 0; i < output.count; ++i) size += field_size(strings[i].size());
    } else {
        for_each_varint(output, [&](uint64_t value) { size += varint_size(value); });
    }
    return size;
}

Layout measure(const OutputView& output, bool typed_lists) {
    Layout layout;
    for (size_t i = 0; i < output.dims.rank; ++i) {
        const auto dim = static_cast<uint64_t>(output.dims.size[i]);
        layout.shape += field_size(dim == 0 ? 0 : 1 + varint_size(dim));
    }
    const DTypeInfo& dtype = info(output.dtype);
    layout.content = dtype.content && output.count > 1 && !typed_lists;
    layout.values = layout.content ? output.count * dtype.size : list_size(output);
    layout.tensor = 1 + varint_size(dtype.tf) + field_size(layout.shape);
    if (output.dtype == DType::kString) {
        layout.tensor += layout.values;
    } else if (layout.values != 0) {
        const uint32_t field = layout.content ? 4 : dtype.list_field;
        layout.tensor += (field < 16 ? 1 : 2) + varint_size(layout.values) + layout.values;
    }
    layout.entry = field_size(output.name.size()) + field_size(layout.tensor);
    return layout;
}

void write_values(ProtoWriter& writer, const OutputView& output, const Layout& layout) {
    const DTypeInfo& dtype = info(output.dtype);
    if (output.dtype == DType::kString) {
        const auto* strings = static_cast<const std::string*>(output.data);
        for (uint64_t i = 0; i < output.count; ++i) writer.bytes(dtype.list_field, strings[i]);
        return;
    }
    if (layout.values == 0) return;
    writer.length(layout.content ? 4 : dtype.list_field, layout.values);
    if (layout.content || output.dtype == DType::kF32 || output.dtype == DType::kF64)
        writer.raw(output.data, layout.values);
    else
        for_each_varint(output, [&](uint64_t value) { writer.varint(value); });
}

// All of a tensor but its values, whose length comes last.
void write_head(ProtoWriter& writer, const OutputView& output, const Layout& layout) {
    writer.tag(1, 0);
    writer.varint(info(output.dtype).tf);
    writer.length(2, layout.shape);
    for (size_t i = 0; i < output.dims.rank; ++i) {
        const auto dim = static_cast<uint64_t>(output.dims.size[i]);
        writer.length(2, dim == 0 ? 0 : 1 + varint_size(dim));
        if (dim == 0) continue;  // a field at its default stays off the wire
        writer.tag(1, 0);
        writer.varint(dim);
    }
}

void write_tensor(ProtoWriter& writer, const OutputView& output, const Layout& layout) {
    write_head(writer, output, layout);
    write_values(writer, output, layout);
}

Status too_large(uint64_t size) {
    return {Code::kResourceExhausted,
            "the answer would have " + std::to_string(size) + " bytes; a message may have 2147483647"};
}

Status no_memory(uint64_t size) {
    return {Code::kResourceExhausted, "out of memory for an answer of " + std::to_string(size) + " bytes"};
}

Status allocate(const ByteSink& sink, uint64_t size, uint8_t*& out) {
    if (size > kLargestMessage) return too_large(size);
    out = sink.allocate(sink.context, size);
    return out == nullptr ? no_memory(size) : Status{};
}

// The sizes of a whole answer's parts.
struct ResponseLayout {
    std::vector<Layout> outputs;  // kept by its thread: a few entries, no allocation per call
    size_t version = 0;
    size_t model_spec = 0;
    uint64_t size = 0;

    void measure_all(const std::vector<OutputView>& views, std::string_view model_name, int64_t number, bool typed_lists) {
        outputs.clear();
        size = 0;
        for (const OutputView& view : views) {
            outputs.push_back(measure(view, typed_lists));
            size += field_size(outputs.back().entry);
        }
        version = number == 0 ? 0 : 1 + varint_size(static_cast<uint64_t>(number));
        model_spec = (model_name.empty() ? 0 : field_size(model_name.size())) + field_size(version) + field_size(kSignatureName.size());
        size += field_size(model_spec);
    }
};

thread_local ResponseLayout response;

void write_entry_head(ProtoWriter& writer, const OutputView& output, const Layout& layout) {
    writer.length(1, layout.entry);
    writer.bytes(1, output.name);
    writer.length(2, layout.tensor);
}

void write_model_spec(ProtoWriter& writer, std::string_view model_name, int64_t version) {
    writer.length(2, response.model_spec);
    if (!model_name.empty()) writer.bytes(1, model_name);
    writer.length(2, response.version);
    if (version != 0) {
        writer.tag(1, 0);
        writer.varint(static_cast<uint64_t>(version));
    }
    writer.bytes(3, kSignatureName);
}

}  // namespace

Status pack_predict_response(const std::vector<OutputView>& outputs, std::string_view model_name, int64_t version,
                             bool typed_lists, const ByteSink& sink) {
    response.measure_all(outputs, model_name, version, typed_lists);
    uint8_t* out = nullptr;
    if (Status status = allocate(sink, response.size, out); !status.ok()) return status;
    ProtoWriter writer(out);
    for (size_t i = 0; i < outputs.size(); ++i) {
        write_entry_head(writer, outputs[i], response.outputs[i]);
        write_tensor(writer, outputs[i], response.outputs[i]);
    }
    write_model_spec(writer, model_name, version);
    return {};
}

Status lay_out_predict_response(std::vector<OutputView>& outputs, std::string_view model_name, int64_t version, const ByteSink& sink) {
    for (const OutputView& output : outputs)
        if (!info(output.dtype).content || output.count < 2) return {};
    response.measure_all(outputs, model_name, version, false);
    if (response.size > kLargestMessage) return too_large(response.size);

    size_t largest = 0;
    size_t aligned = 0;  // where the largest output's values begin, counted from the answer's first byte
    size_t before = 0;
    for (const Layout& layout : response.outputs) {
        before += field_size(layout.entry);
        if (layout.values <= largest) continue;
        largest = layout.values;
        aligned = before - layout.values;  // content ends its tensor, which ends its entry
    }
    uint8_t* const out = sink.allocate_early(sink.context, response.size, aligned);
    if (out == nullptr) return no_memory(response.size);
    ProtoWriter writer(out);
    for (size_t i = 0; i < outputs.size(); ++i) {
        write_entry_head(writer, outputs[i], response.outputs[i]);
        write_head(writer, outputs[i], response.outputs[i]);
        writer.length(4, response.outputs[i].values);
        outputs[i].place = writer.skip(response.outputs[i].values);
    }
    write_model_spec(writer, model_name, version);
    return {};
}

void fill_predict_response(const std::vector<OutputView>& outputs) {
    for (const OutputView& output : outputs)
        if (output.data != output.place) std::memcpy(output.place, output.data, output.count * info(output.dtype).size);
}

Status pack_tensor(const OutputView& output, bool typed_lists, const ByteSink& sink) {
    const Layout layout = measure(output, typed_lists);
    uint8_t* out = nullptr;
    if (Status status = allocate(sink, layout.tensor, out); !status.ok()) return status;
    ProtoWriter writer(out);
    write_tensor(writer, output, layout);
    return {};
}

}  // namespace ovms
