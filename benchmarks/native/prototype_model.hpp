// What the prototype does with a request's bytes: it finds the values, runs the model, and puts the answer together.
//
// Values of IN_PLACE bytes or more are not copied: a request's bytes are put where its values will be aligned, which is
// guessed from the request before, and OpenVINO writes an answer's values where they are sent from.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <openvino/openvino.hpp>
#include <string>

constexpr size_t FRAME_HEAD = 5;        // gRPC: compressed or not, length
constexpr size_t CONTENT = 512;         // where values begin in a buffer; what precedes them has to fit in
constexpr size_t TAIL = 512;            // room for what follows them in a request
constexpr size_t IN_PLACE = 64 * 1024;

enum Code { OK = 0, INVALID_ARGUMENT = 3, UNIMPLEMENTED = 12, INTERNAL = 13 };

[[noreturn]] inline void give_up(const std::string& why) {
    std::fprintf(stderr, "prototype: %s\n", why.c_str());
    std::exit(1);
}

inline void put_varint(std::string& out, uint64_t value) {
    for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
    out.push_back(static_cast<char>(value));
}

inline size_t varint_size(uint64_t value) {
    std::string written;
    put_varint(written, value);
    return written.size();
}

// Finds tensor_content (field 4) of the first input's TensorProto (field 2 of inputs' entry, field 2 of the request).
class Reader {
  public:
    Reader(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}

    // The bytes of the first field of this number; false if there is none. Other fields are skipped.
    bool find(uint64_t number, Reader& found) {
        while (at_ < end_) {
            uint64_t key = 0, size = 0;
            if (!varint(key)) return false;
            switch (key & 7) {
                case 0:
                    if (!varint(size)) return false;
                    continue;
                case 1: size = 8; break;
                case 2:
                    if (!varint(size)) return false;
                    break;
                case 5: size = 4; break;
                default: return false;
            }
            if (size > static_cast<size_t>(end_ - at_)) return false;
            if (key == (number << 3 | 2)) {
                found = Reader(at_, size);
                return true;
            }
            at_ += size;
        }
        return false;
    }

    const uint8_t* data() const { return at_; }
    size_t size() const { return static_cast<size_t>(end_ - at_); }

  private:
    bool varint(uint64_t& value) {
        value = 0;
        for (int shift = 0; at_ < end_ && shift < 64; shift += 7) {
            const uint8_t byte = *at_++;
            value |= static_cast<uint64_t>(byte & 0x7F) << shift;
            if (byte < 0x80) return true;
        }
        return false;
    }

    const uint8_t *at_, *end_;
};

// Memory whose values stand at a multiple of 64 bytes, and the tensor that is these values.
struct Buffer {
    Buffer(const ov::Shape& shape, size_t more) : size(CONTENT + ov::shape_size(shape) * sizeof(float) + more) {
        bytes = static_cast<uint8_t*>(std::aligned_alloc(64, (size + 63) / 64 * 64));
        if (bytes == nullptr) give_up("no memory");
        tensor = ov::Tensor(ov::element::f32, shape, bytes + CONTENT);
    }

    size_t size;
    uint8_t* bytes;
    ov::Tensor tensor;
};

class Model {
  public:
    Model(const std::string& path, const ov::AnyMap& config) {
        compiled_ = core_.compile_model(path, "CPU", config);
        if (compiled_.inputs().size() != 1 || compiled_.outputs().size() != 1) give_up("not one input and one output");
        const auto fits = [](const ov::Output<const ov::Node>& port) {
            return port.get_element_type() == ov::element::f32 && port.get_partial_shape().is_static();
        };
        if (!fits(compiled_.input()) || !fits(compiled_.output())) give_up("not f32 of fixed shapes");
        request_ = compiled_.create_infer_request();
        input_ = request_.get_input_tensor(0);
        output_ = request_.get_output_tensor(0);
        prefix_ = prefix(compiled_.output().get_any_name());
    }

    Buffer request_buffer() const { return {input_.get_shape(), TAIL}; }
    Buffer answer_buffer() const {
        Buffer buffer(output_.get_shape(), 0);
        std::memcpy(buffer.bytes + CONTENT - prefix_.size(), prefix_.data(), prefix_.size());
        return buffer;
    }
    size_t answer_start() const { return CONTENT - prefix_.size(); }

    // Where the next request's first byte should lie in its buffer: clients send the same head again and again.
    size_t request_start() const { return start_; }

    Code predict(Buffer& request, size_t start, size_t size, Buffer& answer) {
        uint8_t* frame = request.bytes + start;
        if (size < FRAME_HEAD) return INVALID_ARGUMENT;
        if (frame[0] != 0) return UNIMPLEMENTED;
        Reader entry(nullptr, 0), tensor(nullptr, 0), content(nullptr, 0);
        if (!Reader(frame + FRAME_HEAD, size - FRAME_HEAD).find(2, entry)) return INVALID_ARGUMENT;
        if (!entry.find(2, tensor) || !tensor.find(4, content)) return INVALID_ARGUMENT;
        if (content.size() != input_.get_byte_size()) return INVALID_ARGUMENT;
        const auto before = static_cast<size_t>(content.data() - frame);
        if (before <= CONTENT) start_ = CONTENT - before;
        try {
            run(request, content.data(), answer);
        } catch (const std::exception& error) {
            std::fprintf(stderr, "prototype: %s\n", error.what());
            return INTERNAL;
        }
        return OK;
    }

  private:
    void run(Buffer& request, const uint8_t* values, Buffer& answer) {
        if (request.tensor.data() == values && input_.get_byte_size() >= IN_PLACE) {
            request_.set_input_tensor(request.tensor);
        } else {
            std::memcpy(input_.data(), values, input_.get_byte_size());
            if (input_.get_byte_size() >= IN_PLACE) request_.set_input_tensor(input_);
        }
        if (output_.get_byte_size() >= IN_PLACE) {
            request_.set_output_tensor(answer.tensor);
            request_.infer();
        } else {
            request_.infer();
            std::memcpy(answer.tensor.data(), output_.data(), output_.get_byte_size());
        }
    }

    // All of an answer but the values, which come last: the gRPC frame's head, and the heads of the messages in it.
    std::string prefix(const std::string& name) const {
        std::string shape;
        for (const size_t size : output_.get_shape()) {
            shape += "\x12";
            put_varint(shape, 1 + varint_size(size));
            shape += "\x08";
            put_varint(shape, size);
        }
        std::string tensor("\x08\x01\x12", 3);
        put_varint(tensor, shape.size());
        tensor += shape + "\x22";
        put_varint(tensor, output_.get_byte_size());

        std::string entry = "\x0A";
        put_varint(entry, name.size());
        entry += name + "\x12";
        put_varint(entry, tensor.size() + output_.get_byte_size());
        entry += tensor;

        std::string message = "\x0A";
        put_varint(message, entry.size() + output_.get_byte_size());
        message += entry;
        const size_t size = message.size() + output_.get_byte_size();
        std::string frame(1, '\0');
        for (const int shift : {24, 16, 8, 0}) frame.push_back(static_cast<char>(size >> shift));
        frame += message;
        if (frame.size() > CONTENT) give_up("the output's name is too long");
        return frame;
    }

    ov::Core core_;
    ov::CompiledModel compiled_;
    ov::InferRequest request_;
    ov::Tensor input_, output_;
    std::string prefix_;
    size_t start_ = 0;
};
