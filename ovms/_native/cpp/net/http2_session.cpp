#include "http2_session.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <new>

#include "../ticks.hpp"
#include "http2_limits.hpp"
#include "port.hpp"

namespace ovms::net {
namespace {

// Answers that are ready leave after so much computing, when they are a third of the connection's calls: its client reads
// them while the rest is computed, instead of one waiting for the other in turn. The more there are, the fewer writes it takes.
constexpr auto kBatch = std::chrono::microseconds(60);
constexpr size_t kBatches = 3;
constexpr auto kLongBatch = std::chrono::microseconds(250);  // after that much they leave in any case
constexpr auto kLongTurn = std::chrono::milliseconds(1);     // of computing for one connection, after which others get theirs
constexpr auto kGoodbye = std::chrono::milliseconds(100);    // from the notice of a shutdown to the last stream that is taken

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

Http2Session::Http2Session(Connection& connection, Streams& streams) : connection_(connection), streams_(streams) {
    static nghttp2_option* const options = make_options();
    if (nghttp2_session_server_new2(&session_, callbacks(), this, options) != 0) throw std::bad_alloc();
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
        connection->attempt([&] { connection_.flush(); });
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
    if (!running_) end_if_done();
}

void Http2Session::send() {
    if (!reading_ && !running_) connection_.flush();
}

// Once all was said. The client may still open windows and ping, or begin streams that are not taken, until it has seen the
// GOAWAY: it lingers.
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
        if (connection->closing()) return;
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
