// What nghttp2 calls: it has read a frame, sent one, or wants more of an answer.
#include <algorithm>
#include <cstring>
#include <exception>

#include "http2_limits.hpp"
#include "http2_session.hpp"

namespace ovms::net {
namespace {

constexpr size_t kCopied = 2048;  // pieces of a body up to this are copied into one write with their frame's head

}  // namespace

struct Http2Session::Callbacks {
    static Http2Session& self(void* user) { return *static_cast<Http2Session*>(user); }
    static Http2Stream* stream(nghttp2_session* session, int32_t id) {
        return static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session, id));
    }

    // nghttp2 is C: nothing may be thrown into it.
    template <class Do>
    static int attempt(void* user, Do act) noexcept {
        try {
            return act(self(user));
        } catch (const std::exception&) {
            self(user).failed_ = true;
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
    }

    static int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
        if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
        return attempt(user, [&](Http2Session& me) {
            const std::shared_ptr<Http2Stream> stream = me.streams_.open(me, frame->hd.stream_id);
            if (stream == nullptr) return static_cast<int>(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE);
            stream->self_ = stream;
            stream->moved_ = me.ticks_;
            stream->next_ = me.first_;
            if (me.first_ != nullptr) me.first_->previous_ = stream.get();
            me.first_ = stream.get();
            ++me.open_;
            nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream.get());
            return 0;
        });
    }

    static int on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                         const uint8_t* value, size_t value_size, uint8_t, void* user) {
        if (frame->hd.type != NGHTTP2_HEADERS) return 0;
        Http2Stream* const found = stream(session, frame->hd.stream_id);
        if (found == nullptr) return 0;
        found->header_bytes_ += name_size + value_size + 32;
        if (found->header_bytes_ > kMostHeaders) {
            // A few bytes can name large headers again and again: at some point it is not even worth an answer.
            self(user).too_large_ = found->header_bytes_ > 4 * kMostHeaders;
            return self(user).too_large_ ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
        }
        if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;  // trailers
        return attempt(user, [&](Http2Session&) {
            found->on_header({reinterpret_cast<const char*>(name), name_size}, {reinterpret_cast<const char*>(value), value_size});
            return 0;
        });
    }

    static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
        return attempt(user, [&](Http2Session& me) {
            const bool last = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
            switch (frame->hd.type) {
                case NGHTTP2_HEADERS:
                case NGHTTP2_DATA: {
                    if (frame->hd.type == NGHTTP2_DATA && frame->hd.length == 0 && !last) ++me.nuisances_;
                    Http2Stream* const found = stream(session, frame->hd.stream_id);
                    if (found == nullptr) break;
                    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) found->on_headers_end();
                    if (last) me.end_stream(*found);
                    break;
                }
                case NGHTTP2_SETTINGS:
                    if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) ++me.nuisances_;
                    me.greeted_ = true;
                    break;
                case NGHTTP2_PING:
                case NGHTTP2_PRIORITY: ++me.nuisances_; break;
                case NGHTTP2_RST_STREAM: ++me.resets_; break;
                default: break;
            }
            return me.is_abusive() ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
        });
    }

    static int on_data(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
        Http2Stream* const found = stream(session, id);
        if (found == nullptr || found->answered_) return 0;
        return attempt(user, [&](Http2Session& me) {
            found->moved_ = me.ticks_;
            me.receiving_ = found;
            found->on_data(data, size);
            return 0;
        });
    }

    static int on_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
        if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
        Http2Session& me = self(user);
        Http2Stream* const found = stream(session, frame->hd.stream_id);
        if (found == nullptr) return 0;
        found->moved_ = me.ticks_;
        if (frame->hd.type == NGHTTP2_HEADERS) me.nuisances_ = std::max(0, me.nuisances_ - kEarned);
        // The rest of a request that was answered early: its sender may stop.
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && !found->request_ended_ && found->stops_sender())
            nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
        return 0;
    }

    static int on_stream_close(nghttp2_session* session, int32_t id, uint32_t, void* user) {
        Http2Stream* const found = stream(session, id);
        if (found == nullptr) return 0;
        return attempt(user, [&](Http2Session& me) {
            me.forget(*found);
            return 0;
        });
    }

    static ssize_t read(nghttp2_session*, int32_t, uint8_t* buffer, size_t size, uint32_t* flags, nghttp2_data_source* source,
                        void* user) {
        Http2Stream& found = *static_cast<Http2Stream*>(source->ptr);
        return attempt(user, [&](Http2Session&) {
            const Http2Stream::Chunk chunk = found.produce(size);
            found.waits_ = chunk.size == 0 && !chunk.last;
            if (found.waits_) return static_cast<int>(NGHTTP2_ERR_DEFERRED);
            if (chunk.size > kCopied) {
                *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
                found.chunk_ = chunk;
            } else if (chunk.size > 0) {
                std::memcpy(buffer, chunk.data, chunk.size);
            }
            if (chunk.last) *flags |= NGHTTP2_DATA_FLAG_EOF;
            if (chunk.trailers) *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            return static_cast<int>(chunk.size);
        });
    }

    static int send_data(nghttp2_session*, nghttp2_frame*, const uint8_t* head, size_t size, nghttp2_data_source* source,
                         void* user) {
        return attempt(user, [&](Http2Session& me) {
            if (me.connection_.unsent() > kMostUnsent) return static_cast<int>(NGHTTP2_ERR_WOULDBLOCK);
            Http2Stream& found = *static_cast<Http2Stream*>(source->ptr);
            me.connection_.add({reinterpret_cast<const char*>(head), 9});
            me.connection_.add(found.chunk_.data, size, found.self_);
            return 0;
        });
    }

    static const nghttp2_session_callbacks* all() {
        static const nghttp2_session_callbacks* const callbacks = [] {
            nghttp2_session_callbacks* made = nullptr;
            nghttp2_session_callbacks_new(&made);
            nghttp2_session_callbacks_set_on_begin_headers_callback(made, on_begin_headers);
            nghttp2_session_callbacks_set_on_header_callback(made, on_header);
            nghttp2_session_callbacks_set_on_frame_recv_callback(made, on_frame);
            nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, on_data);
            nghttp2_session_callbacks_set_on_stream_close_callback(made, on_stream_close);
            nghttp2_session_callbacks_set_send_data_callback(made, send_data);
            nghttp2_session_callbacks_set_on_frame_send_callback(made, on_sent);
            return made;
        }();
        return callbacks;
    }
};

const nghttp2_session_callbacks* Http2Session::callbacks() { return Callbacks::all(); }

nghttp2_data_provider Http2Session::body_of(Http2Stream& stream) { return {{.ptr = &stream}, Callbacks::read}; }

}  // namespace ovms::net
