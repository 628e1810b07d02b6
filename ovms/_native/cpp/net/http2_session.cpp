#include "http2_session.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <exception>
#include <new>

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
// Answers that are ready leave after so much computing, when they are a third of the connection's calls: its client reads
// them while the rest is computed, instead of one waiting for the other in turn. The more there are, the fewer writes it takes.
constexpr auto kBatch = std::chrono::microseconds(60);
constexpr size_t kBatches = 3;
constexpr auto kLongBatch = std::chrono::microseconds(250);  // after that much they leave in any case
constexpr auto kGoodbye = std::chrono::milliseconds(100);  // from the notice of a shutdown to the last stream that is taken
constexpr uint32_t kPatience = 20;                  // seconds until the client has to have said that it speaks HTTP/2
constexpr uint32_t kStuck = 60;                     // seconds that a request may stay half, or an answer half taken
constexpr size_t kMostFields = 8;                   // of an answer, without asking for memory
constexpr size_t kMostQueued = 2 * kMostStreams;    // frames that a client may leave unread before it is not read any more
constexpr auto kLongTurn = std::chrono::milliseconds(1);  // of computing for one connection, after which others get theirs

// Frames that only cost: so many at once, and each second a tenth of that; every answer earns some. Clients that measure
// the connection ping for every answer they get.
constexpr int32_t kNuisances = 2'000;
constexpr int32_t kEarned = 4;
// Requests that the client takes back, as it has to when its deadlines are short.
constexpr int32_t kResets = 50'000;
constexpr int32_t kResetsPerSecond = 10'000;

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
    // clients whose deadlines are short; kResets counts instead.
    using SetRate = void (*)(nghttp2_option*, uint64_t, uint64_t);
    if (auto* const set = reinterpret_cast<SetRate>(dlsym(RTLD_DEFAULT, "nghttp2_option_set_stream_reset_rate_limit")))
        set(options, UINT32_MAX, UINT32_MAX);
    return options;
}

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

Http2Session::Http2Session(Connection& connection, Streams& streams) : connection_(connection), streams_(streams) {
    static nghttp2_option* const options = make_options();
    if (nghttp2_session_server_new2(&session_, Callbacks::all(), this, options) != 0) throw std::bad_alloc();
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
    if (connection_.sending() && nghttp2_session_get_outbound_queue_size(session_) > kMostQueued) {
        held_back_ = true;
        connection_.pause_reading(true);
    }
    end_if_done();
}

bool Http2Session::is_abusive() const { return nuisances_ > kNuisances || resets_ > kResets || too_large_; }

// After an error of the whole connection: what there is to say of it is sent, then the connection is closed.
void Http2Session::give_up(ssize_t error) {
    const bool no_memory = failed_ || error == NGHTTP2_ERR_NOMEM;
    const bool abusive = is_abusive() || error == NGHTTP2_ERR_FLOODED;
    nghttp2_session_terminate_session(
        session_, no_memory ? NGHTTP2_INTERNAL_ERROR : abusive ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
    ended_ = true;
    ready_.clear();
    next_ready_ = 0;
    connection_.close_when_sent(true);
}

void Http2Session::run_ready() {
    if (runs_later_) return;
    running_ = true;
    auto turn = Clock::time_point::min();
    auto since = turn;
    size_t done = 0;  // since the last answers left
    while (next_ready_ < ready_.size() && !connection_.closed() && answers_ <= kMostAnswers) {
        const std::shared_ptr<Http2Stream> stream = std::move(ready_[next_ready_++]);
        if (stream == nullptr || stream->closed_) continue;
        if (more_ready() && since == Clock::time_point::min()) since = turn = Clock::now();
        stream->run();
        if (!more_ready()) break;
        // Calls that come together are answered together, unless that takes long.
        const auto now = Clock::now();
        ++done;
        if (now - since <= (done * kBatches < open_ ? kLongBatch : kBatch)) continue;
        done = 0;
        connection_.flush();
        since = now;
        if (now - turn > kLongTurn) {
            run_later();
            break;
        }
    }
    running_ = false;
    keep_ready();
}

// Other connections get their turn.
void Http2Session::run_later() {
    if (connection_.closed()) return;
    connection_.loop().post([this, connection = connection_.shared_from_this()] {
        runs_later_ = false;
        connection->attempt([&] {
            connection_.flush();
            end_if_done();
        });
    });
    runs_later_ = true;
}

// Forgets the calls that were run, and those that were taken back meanwhile.
void Http2Session::keep_ready() {
    if (next_ready_ < ready_.size() && ready_.size() < 2 * kMostStreams) return;
    ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(next_ready_));
    std::erase_if(ready_, [](const std::shared_ptr<Http2Stream>& stream) { return stream->closed_; });
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
        if (size == 0) break;
        connection_.add({reinterpret_cast<const char*>(bytes), static_cast<size_t>(size)});
    }
    if (held_back_ && !ended_ && nghttp2_session_get_outbound_queue_size(session_) <= kMostQueued) {
        held_back_ = false;
        connection_.pause_reading(false);
    }
}

void Http2Session::send() {
    if (reading_ || running_) return;
    connection_.flush();
    end_if_done();
}

// The client may still open windows and ping, or begin streams that are not taken, until it has seen the GOAWAY.
void Http2Session::end_if_done() {
    if (connection_.closing()) return;
    if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) connection_.close_when_sent(true);
    else if (ended_ && open_ == 0) connection_.close_when_sent(true);
}

// The client has gone, or shut its side, which clients of HTTP/2 do when they go: nobody waits for an answer any more.
void Http2Session::on_end() {
    ended_ = true;
    ready_.clear();
    next_ready_ = 0;
    for (Http2Stream* stream = first_; stream != nullptr; stream = stream->next_) stream->reset();
    connection_.close_when_sent(false);
}

void Http2Session::on_close() {
    while (first_ != nullptr) forget(*first_);
    ready_.clear();
    next_ready_ = 0;
}

void Http2Session::drain() {
    if (nghttp2_session_get_last_proc_stream_id(session_) == 0 && open_ == 0) {
        said_goodbye_ = true;  // nothing was asked on it so far: what comes is refused in so many words
    } else {
        nghttp2_submit_shutdown_notice(session_);
        send();
    }
    connection_.loop().at(Clock::now() + kGoodbye, [connection = connection_.shared_from_this(), this] {
        if (connection->closed()) return;
        said_goodbye_ = true;
        nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR,
                              nullptr, 0);
        connection->attempt([this] { send(); });
    });
}

void Http2Session::tick(uint64_t) {
    ++ticks_;
    nuisances_ = std::max(0, nuisances_ - kNuisances / 10);
    resets_ = std::max(0, resets_ - kResetsPerSecond);
    if (!greeted_ && ticks_ > kPatience) {
        connection_.close();
        return;
    }
    bool some = false;
    for (Http2Stream* stream = first_; stream != nullptr; stream = stream->next_) {
        const bool takes = !stream->request_ended_ && !stream->answered_;
        const bool gives = stream->answered_ && !stream->waits_;
        if (!(takes || gives) || ticks_ - stream->moved_ <= kStuck) continue;
        stream->reset();
        some = true;
    }
    if (some) send();
}

void Http2Session::end_stream(Http2Stream& stream) {
    stream.request_ended_ = true;
    stream.request_ended_at_ = ticks_now();
    if (stream.answered_) return;
    if (stream.header_bytes_ > kMostHeaders) stream.reset();  // by its trailers
    else ready_.push_back(stream.self_);
}

void Http2Session::forget(Http2Stream& stream) {
    const std::shared_ptr<Http2Stream> last = std::move(stream.self_);
    stream.closed_ = true;
    if (stream.previous_ != nullptr) stream.previous_->next_ = stream.next_;
    else first_ = stream.next_;
    if (stream.next_ != nullptr) stream.next_->previous_ = stream.previous_;
    stream.previous_ = stream.next_ = nullptr;
    if (receiving_ == &stream) receiving_ = nullptr;
    --open_;
    stream.on_close();
}

}  // namespace ovms::net
