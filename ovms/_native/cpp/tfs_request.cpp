#include "tfs_request.hpp"

#include "proto_wire.hpp"
#include "utf8.hpp"

namespace ovms {
namespace {

bool read_string(ByteReader& reader, std::string_view& out) {
    if (!reader.length_delimited(out)) return false;
    return is_utf8(out) || reader.fail("string is not valid UTF-8");
}

// google.protobuf.Int64Value
bool parse_int64_value(ByteReader reader, int64_t& value) {
    while (!reader.at_end()) {
        uint32_t field, wire_type;
        if (!reader.tag(field, wire_type)) return false;
        uint64_t raw;
        if (field == 1 && wire_type == kVarint) {
            if (!reader.varint(raw)) return false;
            value = static_cast<int64_t>(raw);
        } else if (!skip_field(reader, field, wire_type, 2)) {
            return false;
        }
    }
    return true;
}

bool parse_model_spec(ByteReader reader, ModelSpecRef& spec) {
    spec.present = true;
    while (!reader.at_end()) {
        uint32_t field, wire_type;
        if (!reader.tag(field, wire_type)) return false;
        std::string_view bytes;
        if (wire_type == kLengthDelimited && field == 1) {
            if (!read_string(reader, spec.name)) return false;
        } else if (wire_type == kLengthDelimited && field == 3) {
            if (!read_string(reader, spec.signature_name)) return false;
        } else if (wire_type == kLengthDelimited && field == 2) {
            if (!reader.length_delimited(bytes)) return false;
            if (!spec.has_version) spec.version = 0;  // the oneof changes hands: nothing of it is merged
            spec.has_version = true;
            spec.has_label = false;
            if (!parse_int64_value(reader.sub(bytes), spec.version)) return false;
        } else if (wire_type == kLengthDelimited && field == 4) {
            if (!read_string(reader, spec.label)) return false;
            spec.has_label = true;
            spec.has_version = false;
        } else if (!skip_field(reader, field, wire_type, 1)) {
            return false;
        }
    }
    return true;
}

bool parse_dim(ByteReader reader, int64_t& size) {
    while (!reader.at_end()) {
        uint32_t field, wire_type;
        if (!reader.tag(field, wire_type)) return false;
        std::string_view name;
        uint64_t raw;
        if (field == 1 && wire_type == kVarint) {
            if (!reader.varint(raw)) return false;
            size = static_cast<int64_t>(raw);
        } else if (field == 2 && wire_type == kLengthDelimited) {
            if (!read_string(reader, name)) return false;
        } else if (!skip_field(reader, field, wire_type, 4)) {
            return false;
        }
    }
    return true;
}

bool parse_shape(ByteReader reader, Dims& dims) {
    while (!reader.at_end()) {
        uint32_t field, wire_type;
        if (!reader.tag(field, wire_type)) return false;
        std::string_view bytes;
        if (field == 2 && wire_type == kLengthDelimited) {
            if (!reader.length_delimited(bytes)) return false;
            int64_t size = 0;
            if (!parse_dim(reader.sub(bytes), size)) return false;
            dims.push(size);
        } else if (!skip_field(reader, field, wire_type, 3)) {
            return false;
        }
    }
    return true;
}

// The width of a typed list's packed elements: 4 or 8 bytes, 0 for varints, -1 for fields that are no such list.
int list_width(uint32_t field) {
    switch (field) {
        case 5: case 9: return 4;    // float_val, scomplex_val
        case 6: case 12: return 8;   // double_val, dcomplex_val
        case 7: case 10: case 11: case 13: case 16: case 17: return 0;  // int, int64, bool, half, uint32, uint64
        default: return -1;
    }
}

// One TensorProto, or one piece of it: scalar fields overwrite, dimensions add up.
bool parse_tensor_piece(ByteReader reader, TensorRef& tensor) {
    while (!reader.at_end()) {
        uint32_t field, wire_type;
        if (!reader.tag(field, wire_type)) return false;
        std::string_view bytes;
        const int width = list_width(field);
        if (field == 1 && wire_type == kVarint) {
            if (!reader.varint(tensor.tf_dtype)) return false;
            tensor.tf_dtype = static_cast<uint32_t>(tensor.tf_dtype);  // an enum is an int32 on the wire
        } else if (field == 2 && wire_type == kLengthDelimited) {
            if (!reader.length_delimited(bytes) || !parse_shape(reader.sub(bytes), tensor.dims)) return false;
        } else if (field == 4 && wire_type == kLengthDelimited) {
            if (!reader.length_delimited(tensor.content)) return false;
        } else if (field == 8 && wire_type == kLengthDelimited) {
            if (!reader.length_delimited(bytes)) return false;
            tensor.has_list = true;
        } else if ((width == 4 && wire_type == kFixed32) || (width == 8 && wire_type == kFixed64)) {
            size_t elements = 0;
            if (!reader.unpacked_run(field, wire_type, static_cast<size_t>(width), SIZE_MAX, bytes, elements))
                return false;
            tensor.has_list = true;
        } else if (width >= 0 && wire_type == kLengthDelimited) {
            if (!reader.length_delimited(bytes)) return false;
            if (width > 0 && bytes.size() % static_cast<size_t>(width) != 0)
                return reader.fail("packed run is not a whole number of elements");
            if (width == 0 && !check_packed_varints(reader.sub(bytes))) return false;
            tensor.has_list |= !bytes.empty();
        } else {
            tensor.has_list |= width >= 0;  // one unpacked element, or a field of another type: harmless either way
            if (!skip_field(reader, field, wire_type, kTensorDepth)) return false;
            if (width == 0 && wire_type == kVarint && field < 16)
                skip_tagged_varints(reader, static_cast<uint8_t>(field << 3));
        }
    }
    return true;
}

bool add_tensor_piece(const ByteReader& reader, std::string_view piece, TensorRef& tensor) {
    if (piece.empty()) return true;
    if (tensor.body.empty()) tensor.body = piece;
    else if (tensor.more.size() == kMaxEntries) return ByteReader(reader).fail("tensor in more than 4096 pieces");
    else tensor.more.push_back(piece);
    return parse_tensor_piece(reader.sub(piece), tensor);
}

// An entry of map<string, TensorProto>
bool parse_input(ByteReader reader, NamedTensorRef& input) {
    while (!reader.at_end()) {
        uint32_t field, wire_type;
        if (!reader.tag(field, wire_type)) return false;
        std::string_view bytes;
        if (field == 1 && wire_type == kLengthDelimited) {
            if (!read_string(reader, input.name)) return false;
        } else if (field == 2 && wire_type == kLengthDelimited) {
            if (!reader.length_delimited(bytes) || !add_tensor_piece(reader, bytes, input.tensor)) return false;
        } else if (!skip_field(reader, field, wire_type, 1)) {
            return false;
        }
    }
    return true;
}

}  // namespace

void PredictRequestRef::clear() {
    model_spec = {};
    inputs.clear();
    output_filter.clear();
}

bool parse_predict_request(const uint8_t* data, size_t size, PredictRequestRef& out, WireError& error) {
    out.clear();
    ByteReader reader(data, size, data, &error);
    while (!reader.at_end()) {
        uint32_t field, wire_type;
        if (!reader.tag(field, wire_type)) return false;
        std::string_view bytes;
        if (wire_type == kLengthDelimited && field == 1) {
            if (!reader.length_delimited(bytes) || !parse_model_spec(reader.sub(bytes), out.model_spec)) return false;
        } else if (wire_type == kLengthDelimited && field == 2) {
            if (!reader.length_delimited(bytes)) return false;
            if (out.inputs.size() == kMaxEntries) return reader.fail("more than 4096 inputs");
            if (!parse_input(reader.sub(bytes), out.inputs.emplace_back())) return false;
        } else if (wire_type == kLengthDelimited && field == 3) {
            if (!read_string(reader, bytes)) return false;
            if (out.output_filter.size() == kMaxEntries) return reader.fail("more than 4096 names in output_filter");
            out.output_filter.push_back(bytes);
        } else if (!skip_field(reader, field, wire_type, 0)) {
            return false;
        }
    }
    return true;
}

bool parse_tensor(const uint8_t* data, size_t size, TensorRef& out, WireError& error) {
    ByteReader reader(data, size, data, &error);
    return add_tensor_piece(reader, {reinterpret_cast<const char*>(data), size}, out);
}

}  // namespace ovms
