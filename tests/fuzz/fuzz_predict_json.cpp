// libFuzzer target: one byte that chooses a signature, then the body of a REST predict request.
//
// Besides what the sanitizers see (the body and every answer lie in blocks of exactly their size), the target checks
// that a refusal says why in a short line of UTF-8, that it blames the grammar only where the grammar is broken, and
// that what was read is printed as a body that reads back as the same values.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "dtype.hpp"
#include "json_reader.hpp"
#include "tfs_json_request.hpp"
#include "tfs_json_response.hpp"
#include "utf8.hpp"

using namespace ovms;

namespace {

constexpr size_t kLongestMessage = 1024;

#define REQUIRE(condition)                                                  \
    do {                                                                    \
        if (!(condition)) {                                                 \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                   \
        }                                                                   \
    } while (false)

using Inputs = std::vector<TensorSpec>;

TensorSpec spec(const char* name, DType dtype, std::vector<int64_t> shape, bool any_rank = false) {
    TensorSpec spec;
    spec.name = name;
    spec.dtype = dtype;
    spec.any_rank = any_rank;
    for (const int64_t size : shape) spec.dims.push_back(size < 0 ? Dimension{} : Dimension{size, size});
    return spec;
}

// The same ones as in tests/native/json_bodies.py, whose bodies begin the search, and in the same order.
std::vector<Inputs> make_signatures() {
    std::vector<Inputs> all;
    for (const DTypeInfo& row : kDTypes) all.push_back({spec("x", row.dtype, {-1, 2})});
    all.push_back({spec("a", DType::kF32, {-1, 4}), spec("b", DType::kI64, {-1})});
    all.push_back({spec("text", DType::kString, {-1}), spec("image_bytes", DType::kString, {-1})});
    all.push_back({spec("b64", DType::kF32, {-1}), spec("s", DType::kString, {}), spec("\"\\", DType::kI32, {2, 3})});
    all.push_back({spec("x", DType::kF32, {2, 3})});
    all.push_back({spec("x", DType::kF64, {})});
    all.push_back({spec("x", DType::kBF16, {0, -1})});
    all.push_back({spec("x", DType::kU8, {-1, -1, 3})});
    all.push_back({spec("x", DType::kI16, std::vector<int64_t>(16, 1))});
    all.push_back({spec("x", DType::kF16, {}, true)});
    return all;
}

// A text with a zero byte behind it, in a block that ends there.
class Text {
public:
    Text(const void* data, size_t size) : bytes_(new uint8_t[size + 1]), size_(size) {
        if (size != 0) std::memcpy(bytes_.get(), data, size);
        bytes_[size] = 0;
    }
    explicit Text(const std::string& text) : Text(text.data(), text.size()) {}
    const uint8_t* data() const { return bytes_.get(); }
    size_t size() const { return size_; }

private:
    std::unique_ptr<uint8_t[]> bytes_;
    size_t size_;
};

bool is_json(const Text& text) {
    JsonReader reader(text.data(), text.size());
    return reader.skip_value() && reader.need_end();
}

std::string printed(const std::vector<OutputView>& outputs, bool row) {
    struct Memory {
        std::unique_ptr<char[]> bytes;
        size_t room = 0, used = 0;
    } memory;
    const ByteSink sink{[](void* context, size_t size) {
                            auto& into = *static_cast<Memory*>(context);
                            REQUIRE(into.bytes == nullptr);
                            into.bytes = std::make_unique<char[]>(size);
                            into.room = size;
                            return reinterpret_cast<uint8_t*>(into.bytes.get());
                        },
                        [](void* context, size_t size) {
                            auto& into = *static_cast<Memory*>(context);
                            REQUIRE(size <= into.room);
                            into.used = size;
                        },
                        &memory};
    REQUIRE(pack_tfs_json(outputs, row, sink).ok());
    return {memory.bytes.get(), memory.used};
}

// Answers have another key than requests.
std::string as_request(const std::string& answer, bool row) {
    const std::string_view key = row ? "{\"predictions\":" : "{\"outputs\":";
    REQUIRE(answer.starts_with(key));
    return (row ? "{\"instances\":" : "{\"inputs\":") + answer.substr(key.size());
}

template <class Bits>
bool same_floats(const char* a, const char* b, uint64_t count, Bits infinity) {
    for (uint64_t i = 0; i < count; ++i) {
        Bits one, other;
        std::memcpy(&one, a + i * sizeof(Bits), sizeof(Bits));
        std::memcpy(&other, b + i * sizeof(Bits), sizeof(Bits));
        constexpr Bits size = static_cast<Bits>(static_cast<Bits>(~Bits{0}) >> 1);
        const bool nan = (one & size) > infinity;
        if (nan ? (other & size) <= infinity : one != other) return false;
    }
    return true;
}

bool same_values(DType dtype, std::string_view a, std::string_view b, uint64_t count) {
    if (a.size() != b.size()) return false;
    switch (dtype) {
        case DType::kF32: return same_floats<uint32_t>(a.data(), b.data(), count, 0x7f800000);
        case DType::kF64: return same_floats<uint64_t>(a.data(), b.data(), count, 0x7ff0000000000000);
        case DType::kF16: return same_floats<uint16_t>(a.data(), b.data(), count, 0x7c00);
        case DType::kBF16: return same_floats<uint16_t>(a.data(), b.data(), count, 0x7f80);
        default: return a == b;
    }
}

OutputView view(const TensorSpec& spec, JsonTensor& tensor) {
    OutputView view;
    view.name = spec.name;
    view.dtype = spec.dtype;
    view.dims = tensor.dims();
    REQUIRE(element_count(view.dims, view.count) && view.count == tensor.count());
    const bool strings = spec.dtype == DType::kString;
    if (!strings) REQUIRE(tensor.content().size() == view.count * info(spec.dtype).size);
    view.data = strings ? static_cast<const void*>(tensor.strings()) : tensor.content().data();
    return view;
}

void check_same(const std::vector<OutputView>& views, TfsJsonRequest& again) {
    for (size_t i = 0; i < views.size(); ++i) {
        JsonTensor& tensor = again.tensor(i);
        const OutputView& sent = views[i];
        REQUIRE(tensor.count() == sent.count);
        if (sent.dtype == DType::kString) {
            const auto* strings = static_cast<const std::string*>(sent.data);
            for (uint64_t k = 0; k < sent.count; ++k) REQUIRE(strings[k] == tensor.strings()[k]);
        } else {
            const size_t size = sent.count * info(sent.dtype).size;
            REQUIRE(same_values(sent.dtype, {static_cast<const char*>(sent.data), size}, tensor.content(), sent.count));
        }
        if (sent.count != 0) REQUIRE(tensor.dims().text() == sent.dims.text());
    }
}

void check_printing(const Inputs& signature, TfsJsonRequest& request, TfsJsonRequest& again, bool row) {
    std::vector<OutputView> views;
    for (size_t i = 0; i < signature.size(); ++i) views.push_back(view(signature[i], request.tensor(i)));
    const Text body(as_request(printed(views, row), row));
    REQUIRE(is_utf8({reinterpret_cast<const char*>(body.data()), body.size()}));
    REQUIRE(again.read(body.data(), body.size(), signature).ok());
    REQUIRE(again.row() == row);
    check_same(views, again);
}

void check_refusal(const Text& body, const Status& status) {
    constexpr std::string_view grammar = "Invalid JSON in request body: offset ";
    const std::string_view message = status.message;
    REQUIRE(status.code == Code::kInvalidArgument);
    REQUIRE(message.size() <= kLongestMessage && is_utf8(message));
    if (!message.starts_with(grammar)) {
        REQUIRE(message.starts_with("Invalid inputs in request body: "));
        return;
    }
    REQUIRE(std::strtoull(message.data() + grammar.size(), nullptr, 10) <= body.size());
    // Right JSON is refused in these words only for a {"b64": ...} of another form, and for a body that is no object.
    const bool form = message.find("\"b64\"") != message.npos || message.find("expected an object") != message.npos;
    REQUIRE(form || !is_json(body));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const std::vector<Inputs> signatures = make_signatures();
    static TfsJsonRequest request, again;  // kept between bodies, as the server keeps them
    if (size == 0) return 0;
    const Inputs& signature = signatures[data[0] % signatures.size()];
    const Text body(data + 1, size - 1);
    const Status status = request.read(body.data(), body.size(), signature);
    if (!status.ok()) {
        check_refusal(body, status);
    } else {
        check_printing(signature, request, again, false);
        if (request.row()) check_printing(signature, request, again, true);
    }
    request.release();
    again.release();
    return 0;
}
