#include "http1_session.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>

#include "../ticks.hpp"
#include "rest_text.hpp"

namespace ovms::net {
namespace {

using namespace std::string_view_literals;

constexpr int kIdleSeconds = 75;             // that a connection without a request stays open
constexpr size_t kMostSkipped = 64 << 10;    // bytes of a body nobody wants that are read so that the connection can go on
constexpr size_t kMostStashed = 64 << 10;    // bytes that are read ahead of the request that is answered
constexpr size_t kMostUnsent = 512 << 10;    // bytes of answers that wait to be sent before more requests are read
constexpr size_t kCopied = 16 << 10;         // bytes of an answer up to which it is copied behind its head
constexpr auto kContinue = "HTTP/1.1 100 Continue\r\n\r\n"sv;

}  // namespace

void Http1Session::on_bytes(const uint8_t* data, size_t size) {
    idle_seconds_ = 0;
    if (until_ != Deadline::max())
        until_ += std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(static_cast<double>(size) / RestPort::kMebibyte));
    if (rest_.empty()) {
        const size_t taken = read(data, size);
        rest_.assign(data + taken, data + size);
    } else {
        rest_.insert(rest_.end(), data, data + size);
        go_on();
    }
    if (rest_.empty()) held_.release();
    else if (!held_.grow(rest_.size())) return connection_.close();
    settle();
}

// Reads on in what was not read yet.
void Http1Session::go_on() {
    rest_begin_ += read(rest_.data() + rest_begin_, rest_.size() - rest_begin_);
    if (rest_begin_ < rest_.size() && rest_begin_ < kMostStashed) return;
    rest_.erase(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(rest_begin_));
    rest_begin_ = 0;
    if (rest_.empty() && rest_.capacity() > kMostStashed) rest_.shrink_to_fit();
}

size_t Http1Session::read(const uint8_t* data, size_t size) {
    working_ = true;
    size_t used = 0;
    while (!closing_) {
        if (request_ended_ || leaves_body()) break;  // until it is answered
        if (!reader_.begun()) {
            blocked_ = connection_.unsent() > kMostUnsent;
            if (blocked_ || used == size) break;
            first_ = ticks_now();
        }
        size_t taken = 0;
        const Http1Reader::Event event = reader_.read(data + used, size - used, taken);
        used += taken;
        if (event == Http1Reader::Event::kMore) break;
        if (event == Http1Reader::Event::kHead) {
            on_head();
        } else if (event == Http1Reader::Event::kBody) {
            const std::string_view piece = reader_.piece();
            if (wanted_) wanted_ = call_->on_data(reinterpret_cast<const uint8_t*>(piece.data()), piece.size());
        } else if (event == Http1Reader::Event::kEnd) {
            on_request_end(used < size);
        } else if (answered_) {
            closing_ = linger_ = true;  // a body that nobody wanted, and that is none
        } else if (reader_.in_body() && wanted_) {
            wanted_ = false;
            call_->on_body_broken(reader_.text());
        } else {
            refuse(reader_.status(), reader_.text());
        }
    }
    working_ = false;
    return used;
}

void Http1Session::on_head() {
    const Http1Head& head = reader_.head();
    if (call_ == nullptr || call_.use_count() > 1) call_ = std::make_shared<RestCall>(port_, connection_);
    is_head_ = head.method == "HEAD"sv;
    call_->begin(*this, head.method, head.target, first_);
    for (const Http1Head::Field& field : head.fields) call_->on_header(field.name, field.value);
    wanted_ = call_->on_head_end(head.length);
    if (!wanted_ || !head.expects_continue || !head.has_body()) return;
    allowed_ = true;
    connection_.add(kContinue);
}

void Http1Session::on_request_end(bool others) {
    request_ended_ = true;
    if (wanted_) call_->on_body_end(others);
    if (answered_) next_request();
}

// Whether the rest of a body that nobody wants is sure to come, and short.
bool Http1Session::can_skip() const {
    const Http1Head& head = reader_.head();
    return !too_slow_ && !head.chunked && head.length.value_or(0) <= kMostSkipped && (allowed_ || !head.expects_continue);
}

void Http1Session::respond(RestAnswer& answer) {
    answered_ = answered_any_ = true;
    wanted_ = false;
    idle_seconds_ = 0;
    const Http1Head& head = reader_.head();
    const bool unread = !request_ended_ && head.has_body();
    if (answer.close || !head.keeps_alive || (unread && !can_skip()) || reader_.status() != 0) {
        closing_ = true;
        linger_ = unread || reader_.status() != 0;
    }

    const auto add = [this](std::string_view name, std::string_view value) { ((head_ += name) += value) += "\r\n"sv; };
    const auto number = [](auto value, auto& digits) {
        return std::string_view(digits, static_cast<size_t>(std::to_chars(digits, digits + sizeof digits, value).ptr - digits));
    };
    char digits[24];
    ((head_ = "HTTP/1.1 "sv) += number(answer.status, digits)) += ' ';
    add(reason_of(answer.status), {});
    add("Date: "sv, http_date());
    for (const auto& [name, value] : answer.fields) {
        head_ += name;
        add(": "sv, value);
    }
    if (!answer.from_python) {
        add("Content-Type: application/json"sv, {});
        if (answer.packing != Packing::kNone) add("Content-Encoding: "sv, name_of(answer.packing));
        if (!answer.vary.empty()) add("Vary: "sv, answer.vary);
        if (!answer.accept_encoding.empty()) add("Accept-Encoding: "sv, answer.accept_encoding);
        if (answer.retry) add("Retry-After: 1"sv, {});
    }
    if (is_head_ && !answer.told_length.empty()) add("Content-Length: "sv, answer.told_length);
    else if (answer.status != kNotModified) add("Content-Length: "sv, number(answer.content.size(), digits));
    if (closing_) add("Connection: close"sv, {});
    else if (!head.is_1_1) add("Connection: keep-alive"sv, {});
    add({}, {});
    connection_.add(head_);
    if (!is_head_ && answer.content.size() != 0) {
        if (answer.content.size() <= kCopied) {
            connection_.add(answer.content.text());
        } else {
            const auto content = std::make_shared<Answer>(std::move(answer.content));
            connection_.add(content->data(), content->size(), content);
        }
    }
    if (working_) return;
    if (request_ended_) next_request();
    go_on();
    settle();
}

// The connection ends with this answer.
void Http1Session::refuse(int status, std::string_view text) {
    RestAnswer answer = RestAnswer::error(status, text);
    answer.close = true;
    if (port_.settings.metrics) {
        CallTicks ticks;
        ticks.first = first_;
        ticks.done = ticks_now();
        connection_.loop().metrics().count_other(Interface::kRest, "refused"sv, code_of(status), ticks);
    }
    const bool before = std::exchange(working_, true);
    respond(answer);
    working_ = before;
    closing_ = linger_ = true;
}

void Http1Session::next_request() {
    reader_.reset();
    is_head_ = wanted_ = allowed_ = too_slow_ = request_ended_ = answered_ = false;
    until_ = Deadline::max();
}

// What was added leaves; then whatever comes next.
void Http1Session::settle() {
    settling_ = true;
    connection_.flush();
    settling_ = false;
    if (connection_.closed()) return;
    if (closing_) {
        connection_.close_when_sent(linger_ || rest_begin_ < rest_.size());
        return;
    }
    if (ended_) return end_if_done();
    watch_time();
    const bool waits = request_ended_ || leaves_body() || blocked_;
    connection_.pause_reading(waits && rest_.size() - rest_begin_ > kMostStashed);
}

void Http1Session::fill() {
    if (!blocked_ || working_) return;
    go_on();
    if (settling_) return;
    connection_.loop().post([this, alive = connection_.shared_from_this()] {
        connection_.attempt([this] {
            if (!connection_.closed()) settle();
        });
    });
}

void Http1Session::on_end() {
    ended_ = true;
    settle();
}

// The client sends no more: what it has asked for is still answered.
void Http1Session::end_if_done() {
    if (request_ended_ || blocked_ || leaves_body()) return;
    if (!reader_.begun() || answered_) {
        closing_ = true;
    } else if (reader_.end(rest_.data() + rest_begin_, rest_.size() - rest_begin_) == Http1Reader::Event::kError) {
        if (wanted_) {
            const Http1Head& head = reader_.head();
            const std::string sizes = std::to_string(call_->body_size()) + " of " + std::to_string(head.length.value_or(0));
            wanted_ = false;
            working_ = true;
            call_->on_body_broken(head.chunked ? reader_.text() : "the body ended after " + sizes + " bytes");
            working_ = false;
        } else if (!reader_.in_body()) {
            refuse(reader_.status(), reader_.text());
        }
        if (!answered_) return;  // Python is going to
        closing_ = true;
    }
    connection_.flush();
    if (!connection_.closed()) connection_.close_when_sent(false);
}

// A request that has begun and is not complete has its time; one that is waited for in Python has not.
void Http1Session::watch_time() {
    const bool arrives = reader_.begun() && !request_ended_ && !leaves_body();
    if (!arrives) {
        until_ = Deadline::max();
        if (alarmed_) connection_.loop().forget(alarm_);
        alarmed_ = false;
        return;
    }
    if (until_ == Deadline::max()) until_ = deadline_after(port_.settings.read_seconds);
    if (alarmed_ || until_ == Deadline::max()) return;
    alarmed_ = true;
    alarm_ = connection_.loop().at(until_, [this, alive = connection_.shared_from_this()] {
        alarmed_ = false;
        connection_.attempt([this] { on_time(); });
    });
}

void Http1Session::on_time() {
    if (connection_.closing() || until_ == Deadline::max()) return;
    if (Clock::now() < until_) return watch_time();
    if (answered_) return connection_.close();
    if (call_ != nullptr && !wanted_ && reader_.in_body()) {
        too_slow_ = true;  // the connection ends with Python's answer
        return;
    }
    wanted_ = false;
    refuse(408, "Request Timeout"sv);
    settle();
}

void Http1Session::tick(uint64_t) {
    if (reader_.begun() || !rest_.empty()) idle_seconds_ = 0;
    else if (++idle_seconds_ > kIdleSeconds) connection_.close();
}

void Http1Session::on_close() {
    if (call_ != nullptr) call_->leave();
    call_.reset();
    if (alarmed_) connection_.loop().forget(alarm_);
    alarmed_ = false;
}

std::string Http1Session::peer() { return connection_.peer(); }

std::string_view Http1Session::protocol() const { return reader_.head().is_1_1 ? "HTTP/1.1"sv : "HTTP/1.0"sv; }

}  // namespace ovms::net
