#include "http1_reader.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>

#include "rest_text.hpp"

namespace ovms::net {
namespace {

using namespace std::string_view_literals;
using Error = boost::beast::http::error;

constexpr uint64_t kLargestChunk = uint64_t{1} << 60;
constexpr size_t kMostTrailers = 64;
constexpr size_t kLeastBetween = "0\r\n\r\n"sv.size();
constexpr size_t kMostLengthDigits = 18;
constexpr std::array kOnce{"content-length"sv, "transfer-encoding"sv, "host"sv, "expect"sv, "x-request-timeout"sv};

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

bool has_bare_line_feed(const char* data, size_t size) {
    for (size_t i = 0; i < size; ++i)
        if (data[i] == '\n' && (i == 0 || data[i - 1] != '\r')) return true;
    return false;
}

}  // namespace

void Http1Reader::restart() {
    parser_.emplace(*this);
    parser_->header_limit(kMostHead + 1);  // the limit is kept here
    parser_->body_limit(UINT64_MAX);
    places_.clear();
    blank_ = parsed_ = 0;
    folded_ = false;
}

void Http1Reader::reset() {
    restart();
    head_.fields.clear();
    head_.length.reset();
    head_.chunked = head_.expects_continue = false;
    piece_ = {};
    trailers_ = 0;
    chunk_left_ = 0;
    begun_ = head_done_ = false;
    status_ = 0;
}

Http1Reader::Event Http1Reader::read(const uint8_t* data, size_t size, size_t& taken) {
    taken = 0;
    if (status_ != 0) return Event::kError;
    if (head_done_) return read_body(data, size, taken);
    if (size == 0) return Event::kMore;
    begun_ = true;
    return read_head(data, size, taken);
}

Http1Reader::Event Http1Reader::read_head(const uint8_t* data, size_t size, size_t& taken) {
    const auto* const bytes = reinterpret_cast<const char*>(data);
    if (blank_ == 0 && parsed_ == 0 && bytes[0] == '\r') {
        if (size == 1) return Event::kMore;
        if (bytes[1] == '\n') blank_ = 2;  // one empty line is passed over
    }
    base_ = bytes + blank_;
    size_ = std::min(size - blank_, kMostHead);
    Parser::Code code;
    parsed_ += parser_->put(boost::asio::const_buffer(base_ + parsed_, size_ - parsed_), code);
    if (!code) {
        taken = blank_ + parsed_;
        return finish_head();
    }
    if (code != Error::need_more && code != Error::header_limit) return refuse_start({base_, size_}, code);
    if (code == Error::need_more && size_ < kMostHead) return Event::kMore;
    const bool is_line = std::string_view(base_, size_).find("\r\n"sv) == std::string_view::npos;
    return is_line ? fail(414, "the path is too long") : fail(431, "the headers are too large");
}

// What Beast found wrong with a head.
Http1Reader::Event Http1Reader::refuse_start(std::string_view bytes, const Parser::Code& code) {
    if (code == Error::bad_version) {
        // Behind the second space: Beast has seen it.
        const std::string_view version = bytes.substr(bytes.find(' ', bytes.find(' ') + 1) + 1, "HTTP/1.1"sv.size());
        const auto digit = [](char c) { return c >= '0' && c <= '9'; };
        const bool is_one = version.size() == 8 && version.starts_with("HTTP/"sv) && digit(version[5]) && version[6] == '.' && digit(version[7]);
        if (is_one && version != "HTTP/1.0"sv && version != "HTTP/1.1"sv) return fail(505, "expected HTTP/1.1");
    }
    return fail(400, "malformed request: " + code.message());
}

Http1Reader::Event Http1Reader::finish_head() {
    head_done_ = true;
    const auto text = [this](const Place& place) { return std::string_view(base_ + place.begin, place.size); };
    head_.method = text(method_);
    head_.target = text(target_);
    for (const auto& [name, value] : places_)
        if (text(name).find('_') == std::string_view::npos) head_.fields.push_back({text(name), text(value)});
    std::string_view why = folded_ ? "a folded line in the headers"sv : trouble_with(head_.method, head_.target);
    if (head_.method == "CONNECT"sv) return fail(405, "Method Not Allowed");
    if (why.empty()) why = frame();
    if (!why.empty()) return fail(400, "malformed request: " + std::string(why));
    head_.keeps_alive = parser_->keep_alive();
    for (const Http1Head::Field& field : head_.fields) {
        if (!same_name(field.name, "expect"sv) || field.value.empty()) continue;
        if (!same_name(field.value, "100-continue"sv)) return fail(417, "Expect: expected 100-continue");
        head_.expects_continue = head_.is_1_1;
    }
    return Event::kHead;
}

// Where the body ends; why that is not clear.
std::string_view Http1Reader::frame() {
    std::array<bool, kOnce.size()> seen{};
    for (const Http1Head::Field& field : head_.fields) {
        const auto found = std::find_if(kOnce.begin(), kOnce.end(), [&](std::string_view name) { return same_name(field.name, name); });
        if (found == kOnce.end()) continue;
        bool& before = seen[static_cast<size_t>(found - kOnce.begin())];
        if (before) return "a header that may be there once is there twice"sv;
        before = true;
        if (found == &kOnce[0]) {
            if (field.value.empty() || field.value.size() > kMostLengthDigits ||
                field.value.find_first_not_of("0123456789"sv) != std::string_view::npos)
                return "Content-Length: expected a number"sv;
            uint64_t length = 0;
            for (const char c : field.value) length = length * 10 + static_cast<uint64_t>(c - '0');
            head_.length = length;
        } else if (found == &kOnce[1]) {
            if (!same_name(field.value, "chunked"sv)) return "Transfer-Encoding: expected chunked"sv;
            if (!head_.is_1_1) return "Transfer-Encoding is there in HTTP/1.0"sv;
            head_.chunked = true;
        }
    }
    if (head_.chunked && head_.length) return "both Content-Length and Transfer-Encoding are there"sv;
    return {};
}

Http1Reader::Event Http1Reader::read_body(const uint8_t* data, size_t size, size_t& taken) {
    const auto* const bytes = reinterpret_cast<const char*>(data);
    while (!parser_->is_done()) {
        if (taken == size) return Event::kMore;
        piece_ = {};
        Parser::Code code = Error::need_more;
        // Between chunks Beast takes for granted that it gets no less.
        if (!head_.chunked || chunk_left_ != 0 || size - taken >= kLeastBetween)
            taken += parser_->put(boost::asio::const_buffer(bytes + taken, size - taken), code);
        if (!piece_.empty()) return Event::kBody;
        if (!code) continue;
        // Between chunks, where Beast wants to see everything at once.
        const size_t pending = size - taken;
        if (code == Error::need_more) {
            if (pending > kMostBetween) return fail_body("a line between its chunks, or its trailers, are too long");
            if (has_bare_line_feed(bytes + taken, pending)) return fail_body("a line does not end in CRLF");
            return Event::kMore;
        }
        if (code == Error::bad_content_length || code == Error::bad_transfer_encoding) {
            // In trailers, where these mean nothing and are passed over as all others. Beast has seen where they end.
            const std::string_view between(bytes + taken, pending);
            const size_t end = between.find("\r\n\r\n"sv);
            if (has_bare_line_feed(between.data(), end)) return fail_body("a line does not end in CRLF");
            taken += end + 4;
            return Event::kEnd;
        }
        if (code == Error::bad_chunk) return fail_body("a chunk has no size, or is longer than it says");
        return fail_body(code == Error::bad_chunk_extension ? "a chunk's extension is none" : "its lines or trailers are none");
    }
    return Event::kEnd;
}

Http1Reader::Event Http1Reader::end(const uint8_t* data, size_t size) {
    if (status_ != 0 || !begun_) return Event::kError;
    if (!head_done_) {
        // Beast looks for the end of headers that came in pieces, before it goes on with what is in them.
        restart();
        size_t taken = 0;
        if (read_head(data, size, taken) == Event::kError) return Event::kError;
        return fail(400, "malformed request: it ends in the headers");
    }
    return fail_body("it ends in a chunk");
}

Http1Reader::Event Http1Reader::fail(int status, std::string text) {
    status_ = status;
    text_ = std::move(text);
    return Event::kError;
}

Http1Reader::Event Http1Reader::fail_body(const char* why) {
    return fail(400, std::string("the body is not chunked as its headers say: ") + why);
}

void Http1Reader::Parser::on_request_impl(boost::beast::http::verb, Text method, Text target, int version, Code&) {
    reader_.method_ = {static_cast<size_t>(method.data() - reader_.base_), method.size()};
    reader_.target_ = {static_cast<size_t>(target.data() - reader_.base_), target.size()};
    reader_.head_.is_1_1 = version == 11;
}

void Http1Reader::Parser::on_field_impl(boost::beast::http::field, Text name, Text value, Code& code) {
    if (reader_.head_done_) {
        if (++reader_.trailers_ > kMostTrailers) code = Error::header_limit;
        return;
    }
    const char* const end = reader_.base_ + reader_.size_;
    // Beast unfolds lines: a value of several is in memory of its own, or begins in another line than its name.
    const char* const behind = name.data() + name.size();
    if (value.data() < behind || value.data() + value.size() > end || std::find(behind, value.data(), '\r') != value.data()) {
        reader_.folded_ = true;
        return;
    }
    const auto place = [&](Text text) { return Place{static_cast<size_t>(text.data() - reader_.base_), text.size()}; };
    reader_.places_.emplace_back(place(name), place(value));
}

size_t Http1Reader::Parser::on_body_impl(Text body, Code&) {
    reader_.piece_ = view(body);
    return body.size();
}

void Http1Reader::Parser::on_chunk_header_impl(uint64_t size, Text, Code& code) {
    if (size >= kLargestChunk) code = Error::bad_chunk;
    reader_.chunk_left_ = size;
}

size_t Http1Reader::Parser::on_chunk_body_impl(uint64_t, Text body, Code&) {
    reader_.chunk_left_ -= body.size();
    reader_.piece_ = view(body);
    return body.size();
}

}  // namespace ovms::net
