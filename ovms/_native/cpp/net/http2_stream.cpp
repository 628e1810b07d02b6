#include "http2_stream.hpp"

#include <array>
#include <new>
#include <vector>

#include "http2_limits.hpp"
#include "http2_session.hpp"

namespace ovms::net {
namespace {

constexpr size_t kMostFields = 8;  // of an answer, without asking for memory

// nghttp2 copies what it points to.
nghttp2_nv field(std::string_view name, std::string_view value) {
    return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
            reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

Http2Stream::Http2Stream(Http2Session& session, int32_t id)
    : connection_(session.connection().shared_from_this()), session_(session), id_(id) {}

bool Http2Stream::headers_too_large() const { return header_bytes_ > kMostHeaders; }

void Http2Stream::submit(std::initializer_list<Field> fields, bool last) { submit(fields.begin(), fields.size(), last); }

void Http2Stream::submit(const Field* fields, size_t count, bool last) {
    if (closed_ || answered_) return;
    answered_ = true;
    std::array<nghttp2_nv, kMostFields> few;
    std::vector<nghttp2_nv> many;
    nghttp2_nv* values = few.data();
    if (count > few.size()) {
        many.resize(count);
        values = many.data();
    }
    for (size_t i = 0; i < count; ++i) values[i] = field(fields[i].name, fields[i].value);
    const nghttp2_data_provider provider = Http2Session::body_of(*this);
    if (nghttp2_submit_response(session_.session_, id_, values, count, last ? nullptr : &provider) != 0) throw std::bad_alloc();
}

void Http2Stream::submit_trailers(std::initializer_list<Field> fields) {
    std::array<nghttp2_nv, kMostFields> values;
    size_t count = 0;
    for (const Field& one : fields) values[count++] = field(one.name, one.value);
    if (nghttp2_submit_trailer(session_.session_, id_, values.data(), count) != 0) throw std::bad_alloc();
}

void Http2Stream::resume() {
    if (closed_) return;
    waits_ = false;
    moved_ = session_.ticks_;
    nghttp2_session_resume_data(session_.session_, id_);
}

void Http2Stream::reset() {
    if (!closed_) nghttp2_submit_rst_stream(session_.session_, NGHTTP2_FLAG_NONE, id_, NGHTTP2_CANCEL);
}

void Http2Stream::send() { session_.send(); }

}  // namespace ovms::net
