#include "http2_session.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "../ticks.hpp"
#include "port.hpp"

namespace ovms::net {
namespace {

constexpr uint32_t kMostStreams = 1024;             // of one connection at a time; others wait at the client
constexpr uint32_t kStreamWindow = 4 << 20;         // bytes of a request that may be on their way
constexpr int32_t kConnectionWindow = 16 << 20;     // of all requests of a connection
constexpr size_t kMostHeaders = 64 << 10;           // bytes of one request's headers
constexpr size_t kCopied = 2048;                    // pieces of a body up to this are copied into one write with their frame's head
constexpr size_t kMostUnsent = 512 << 10;           // bytes that are put together for one write
constexpr int64_t kMostAnswers = int64_t{64} << 20;  // bytes of answers that a client may leave unread before its calls wait
constexpr auto kLongBatch = std::chrono::microseconds(250);  // after that much computing, answers that are ready leave
constexpr auto kGoodbye = std::chrono::milliseconds(100);  // from the notice of a shutdown to the last stream that is taken
constexpr uint64_t kSilence = 60'000;               // milliseconds that a request may make no progress
constexpr size_t kMostFields = 8;                   // of an answer, without asking for memory
constexpr int32_t kNuisances = 2'000;               // frames that only cost: so many at once, and each second a tenth of that

// nghttp2 copies what it points to.
nghttp2_nv field(std::string_view name, std::string_view value) {
    return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
            reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

nghttp2_option* make_options() {
    nghttp2_option* options = nullptr;
    nghttp2_option_new(&options);
    nghttp2_option_set_no_closed_streams(options, 1);
    // Distributions have this in versions whose header does not say so. Its default, 33 a second, would end connections of
    // clients whose deadlines are short.
    using SetRate = void (*)(nghttp2_option*, uint64_t, uint64_t);
    if (auto* const set = reinterpret_cast<SetRate>(dlsym(RTLD_DEFAULT, "nghttp2_option_set_stream_reset_rate_limit")))
        set(options, 10'000, 1'000);
    return options;
}

}  // namespace

struct Http2Session::Callbacks {
    static Http2Session& self(void* user) { return *static_cast<Http2Session*>(user); }
    static Http2Stream* stream(nghttp2_session* session, int32_t id) {
        return static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session, id));
    }

    static int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
        if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
        Http2Session& me = self(user);
        const std::shared_ptr<Http2Stream> stream = me.streams_.open(me, frame->hd.stream_id);
        stream->self_ = stream;
        stream->next_ = me.first_;
        if (me.first_ != nullptr) me.first_->previous_ = stream.get();
        me.first_ = stream.get();
        ++me.open_;
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream.get());
        return 0;
    }

    static int on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                         const uint8_t* value, size_t value_size, uint8_t, void*) {
        if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;  // trailers
        Http2Stream* const found = stream(session, frame->hd.stream_id);
        if (found == nullptr) return 0;
        found->header_bytes_ += name_size + value_size + 32;
        if (found->headers_too_large()) return 0;
        found->on_header({reinterpret_cast<const char*>(name), name_size}, {reinterpret_cast<const char*>(value), value_size});
        return 0;
    }

    static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
        Http2Session& me = self(user);
        const bool last = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
        switch (frame->hd.type) {
            case NGHTTP2_HEADERS:
            case NGHTTP2_DATA: {
                if (frame->hd.type == NGHTTP2_DATA && frame->hd.length == 0 && !last) me.count_nuisance();
                Http2Stream* const found = stream(session, frame->hd.stream_id);
                if (found == nullptr) break;
                if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) found->on_headers_end();
                if (last) me.end_stream(*found);
                break;
            }
            case NGHTTP2_SETTINGS:
                if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) me.count_nuisance();
                break;
            case NGHTTP2_PING:
            case NGHTTP2_PRIORITY:
            case NGHTTP2_RST_STREAM: me.count_nuisance(); break;
            default: break;
        }
        return me.nuisances_ > kNuisances ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
    }

    static int on_data(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size, void*) {
        if (Http2Stream* const found = stream(session, id); found != nullptr && !found->answered_) found->on_data(data, size);
        return 0;
    }

    // The rest of a request that was answered early: its sender may stop.
    static int on_sent(nghttp2_session* session, const nghttp2_frame* frame, void*) {
        if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
            return 0;
        if (Http2Stream* const found = stream(session, frame->hd.stream_id); found != nullptr && !found->request_ended_)
            nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
        return 0;
    }

    static int on_stream_close(nghttp2_session* session, int32_t id, uint32_t, void* user) {
        if (Http2Stream* const found = stream(session, id)) self(user).forget(*found);
        return 0;
    }

    static ssize_t read(nghttp2_session*, int32_t, uint8_t* buffer, size_t size, uint32_t* flags, nghttp2_data_source* source,
                        void*) {
        Http2Stream& found = *static_cast<Http2Stream*>(source->ptr);
        const Http2Stream::Chunk chunk = found.produce(size);
        if (chunk.size == 0 && !chunk.last) return NGHTTP2_ERR_DEFERRED;
        if (chunk.size > kCopied) {
            *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
            found.chunk_ = chunk;
        } else if (chunk.size > 0) {
            std::memcpy(buffer, chunk.data, chunk.size);
        }
        if (chunk.last) *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (chunk.trailers) *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        return static_cast<ssize_t>(chunk.size);
    }

    static int send_data(nghttp2_session*, nghttp2_frame*, const uint8_t* head, size_t size, nghttp2_data_source* source,
                         void* user) {
        Connection& connection = self(user).connection_;
        if (connection.unsent() > kMostUnsent) return NGHTTP2_ERR_WOULDBLOCK;
        Http2Stream& found = *static_cast<Http2Stream*>(source->ptr);
        connection.add({reinterpret_cast<const char*>(head), 9});
        connection.add(found.chunk_.data, size, found.self_);
        return 0;
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
    nghttp2_data_provider provider{};
    provider.source.ptr = this;
    provider.read_callback = Http2Session::Callbacks::read;
    nghttp2_submit_response(session_.session_, id_, values, count, last ? nullptr : &provider);
}

void Http2Stream::submit_trailers(std::initializer_list<Field> fields) {
    std::array<nghttp2_nv, kMostFields> values;
    size_t count = 0;
    for (const Field& one : fields) values[count++] = field(one.name, one.value);
    nghttp2_submit_trailer(session_.session_, id_, values.data(), count);
}

void Http2Stream::resume() {
    if (!closed_) nghttp2_session_resume_data(session_.session_, id_);
}

void Http2Stream::send() { session_.send(); }

Http2Session::Http2Session(Connection& connection, Streams& streams) : connection_(connection), streams_(streams) {
    static nghttp2_option* const options = make_options();
    nghttp2_session_server_new2(&session_, Callbacks::all(), this, options);
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kMostStreams},
                                               {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
                                               {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMostHeaders}};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
    nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
}

Http2Session::~Http2Session() { nghttp2_session_del(session_); }

void Http2Session::on_bytes(const uint8_t* data, size_t size) {
    reading_ = true;
    const ssize_t read = nghttp2_session_mem_recv(session_, data, size);
    reading_ = false;
    if (read < 0) {
        give_up(read);
        return;
    }
    run_ready();
    connection_.flush();
    end_if_done();
}

// After an error of the whole connection: what nghttp2 has to say of it is sent, then the connection is closed.
void Http2Session::give_up(ssize_t error) {
    if (error == NGHTTP2_ERR_BAD_CLIENT_MAGIC) {
        connection_.close();
        return;
    }
    nghttp2_session_terminate_session(session_, nuisances_ > kNuisances ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
    ended_ = true;
    connection_.close_when_sent(true);
}

void Http2Session::run_ready() {
    running_ = true;
    auto since = Clock::time_point::min();
    while (next_ready_ < ready_.size() && !connection_.closed() && answers_ <= kMostAnswers) {
        const std::shared_ptr<Http2Stream> stream = std::move(ready_[next_ready_++]);
        if (stream->closed_) continue;
        if (more_ready() && since == Clock::time_point::min()) since = Clock::now();
        stream->run();
        // Calls that come together are answered together, unless that takes long.
        if (more_ready() && Clock::now() - since > kLongBatch) {
            connection_.flush();
            since = Clock::now();
        }
    }
    running_ = false;
    if (next_ready_ < ready_.size()) return;
    ready_.clear();
    next_ready_ = 0;
}

void Http2Session::fill() {
    if (reading_) return;
    if (!running_ && next_ready_ < ready_.size()) run_ready();
    while (connection_.unsent() <= kMostUnsent) {
        const uint8_t* bytes = nullptr;
        const ssize_t size = nghttp2_session_mem_send(session_, &bytes);
        if (size < 0) {
            connection_.close();
            return;
        }
        if (size == 0) return;
        connection_.add({reinterpret_cast<const char*>(bytes), static_cast<size_t>(size)});
    }
}

void Http2Session::send() {
    if (reading_ || running_) return;
    connection_.flush();
    end_if_done();
}

void Http2Session::end_if_done() {
    if (connection_.closing()) return;
    if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) connection_.close_when_sent(false);
    else if (ended_ && open_ == 0) connection_.close_when_sent(false);
}

// The client has shut its side: what it has asked for is still answered.
void Http2Session::on_end() {
    ended_ = true;
    std::vector<std::shared_ptr<Http2Stream>> halves;
    for (Http2Stream* stream = first_; stream != nullptr; stream = stream->next_)
        if (!stream->request_ended_) halves.push_back(stream->self_);
    for (const auto& stream : halves)
        nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream->id_, NGHTTP2_CANCEL);
    send();
}

void Http2Session::on_close() {
    while (first_ != nullptr) forget(*first_);
    ready_.clear();
    next_ready_ = 0;
}

void Http2Session::drain() {
    if (nghttp2_session_get_last_proc_stream_id(session_) == 0 && open_ == 0) {
        said_goodbye_ = true;  // nothing was asked on it so far: what comes is refused in so many words
        return;
    }
    nghttp2_submit_shutdown_notice(session_);
    send();
    connection_.loop().at(Clock::now() + kGoodbye, [connection = connection_.shared_from_this(), this] {
        if (connection->closed()) return;
        said_goodbye_ = true;
        nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR,
                              nullptr, 0);
        send();
    });
}

void Http2Session::tick(uint64_t silent) {
    nuisances_ = std::max(0, nuisances_ - kNuisances / 10);
    if (silent <= kSilence) return;
    for (const Http2Stream* stream = first_; stream != nullptr; stream = stream->next_)
        if (!stream->request_ended_ && !stream->answered_) {
            nghttp2_session_terminate_session(session_, NGHTTP2_CANCEL);
            ended_ = true;
            connection_.close_when_sent(false);
            return;
        }
}

void Http2Session::end_stream(Http2Stream& stream) {
    stream.request_ended_ = true;
    stream.request_ended_at_ = ticks_now();
    if (!stream.answered_) ready_.push_back(stream.self_);
}

void Http2Session::forget(Http2Stream& stream) {
    const std::shared_ptr<Http2Stream> last = std::move(stream.self_);
    stream.closed_ = true;
    if (stream.previous_ != nullptr) stream.previous_->next_ = stream.next_;
    else first_ = stream.next_;
    if (stream.next_ != nullptr) stream.next_->previous_ = stream.previous_;
    stream.previous_ = stream.next_ = nullptr;
    --open_;
    stream.on_close();
}

}  // namespace ovms::net
