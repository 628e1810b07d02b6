#include "packing.hpp"

#include <zlib.h>

#include <algorithm>
#include <memory>

namespace ovms::net {
namespace {

constexpr int kWindow = 15;
constexpr int kGzipWindow = kWindow + 16;  // zlib's way to ask for gzip's head and tail
constexpr int kMemory = 8;
constexpr size_t kPiece = 64 << 10;
constexpr int kMostMembers = 1 << 16;

// What HTTP calls deflate is zlib's format; some clients send it without zlib's header.
int window_of(Packing packing, const uint8_t* data, size_t size) {
    if (packing == Packing::kGzip) return kGzipWindow;
    const bool is_zlib = size > 1 && (data[0] & 15) == Z_DEFLATED && (data[0] << 8 | data[1]) % 31 == 0;
    return is_zlib ? kWindow : -kWindow;
}

class Inflater {
public:
    explicit Inflater(int window) { ready_ = inflateInit2(&stream_, window) == Z_OK; }
    ~Inflater() { inflateEnd(&stream_); }
    Inflater(const Inflater&) = delete;
    Inflater& operator=(const Inflater&) = delete;

    bool ready() const { return ready_; }
    z_stream& stream() { return stream_; }

private:
    z_stream stream_{};
    bool ready_ = false;
};

}  // namespace

Unpacked unpack(Packing packing, const uint8_t* data, size_t size, size_t limit, Body& out, std::string& why) {
    if (!out.begin(0)) return Unpacked::kOutOfMemory;
    if (size == 0) return Unpacked::kOk;
    Inflater inflater(window_of(packing, data, size));
    if (!inflater.ready()) return Unpacked::kOutOfMemory;
    z_stream& stream = inflater.stream();
    const auto piece = std::make_unique_for_overwrite<uint8_t[]>(kPiece);
    stream.next_in = const_cast<uint8_t*>(data);  // zlib only reads
    size_t left = size;
    int members = 1;
    while (true) {
        const auto given = static_cast<uInt>(std::min<size_t>(left, 1 << 30));
        stream.avail_in = given;
        stream.next_out = piece.get();
        stream.avail_out = kPiece;
        const int result = inflate(&stream, Z_NO_FLUSH);
        left -= given - stream.avail_in;
        const size_t made = kPiece - stream.avail_out;
        if (made > limit - out.size()) return Unpacked::kTooLarge;
        if (made != 0 && !out.append(piece.get(), made)) return Unpacked::kOutOfMemory;
        if (result == Z_MEM_ERROR) return Unpacked::kOutOfMemory;
        if (result == Z_STREAM_END) {
            if (left == 0) return Unpacked::kOk;
            if (++members > kMostMembers) {
                why = "it has more than 65536 members";
                return Unpacked::kMalformed;
            }
            inflateReset(&stream);
        } else if (result == Z_BUF_ERROR || (result == Z_OK && left == 0 && stream.avail_out != 0)) {
            why = "it ends too early";
            return Unpacked::kMalformed;
        } else if (result != Z_OK) {
            why = stream.msg == nullptr ? "invalid data" : stream.msg;
            return Unpacked::kMalformed;
        }
    }
}

bool pack(Packing packing, std::string_view content, Answer& packed) {
    z_stream stream{};
    const int window = packing == Packing::kGzip ? kGzipWindow : kWindow;
    if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, window, kMemory, Z_DEFAULT_STRATEGY) != Z_OK) return false;
    bool done = false;
    if (content.size() < UINT32_MAX && packed.allocate(deflateBound(&stream, content.size())) != nullptr) {
        stream.next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(content.data()));
        stream.avail_in = static_cast<uInt>(content.size());
        stream.next_out = packed.data();
        stream.avail_out = static_cast<uInt>(packed.size());
        done = deflate(&stream, Z_FINISH) == Z_STREAM_END;
        packed.shrink(stream.total_out);
    }
    deflateEnd(&stream);
    return done;
}

}  // namespace ovms::net
