#include "rest_stream.hpp"

#include <algorithm>
#include <charconv>
#include <vector>

#include "../ticks.hpp"
#include "rest_text.hpp"

namespace ovms::net {
namespace {

using namespace std::string_view_literals;

}  // namespace

void RestStream::on_header(std::string_view name, std::string_view value) {
    if (name == ":method"sv) {
        method_ = value;
    } else if (name == ":path"sv) {
        target_ = value;
    } else if (name == ":authority"sv) {
        authority_ = value;
    } else if (!name.starts_with(':')) {
        begin();
        if (name == "content-length"sv) {
            uint64_t length = 0;
            if (std::from_chars(value.data(), value.data() + value.size(), length).ec == std::errc{}) length_ = length;
        }
        if (name.find('_') == std::string_view::npos) call_->on_header(name, value);
    }
}

// What has a colon stands before all other headers.
void RestStream::begin() {
    if (begun_) return;
    begun_ = true;
    call_->begin(*this, method_, target_, ticks_now());
    if (!authority_.empty()) call_->on_header("host"sv, authority_);
}

void RestStream::on_headers_end() {
    begin();
    RestAnswer wrong;
    if (headers_too_large()) {
        wrong = RestAnswer::error(431, "the headers are too large"sv);
    } else if (method_ == "CONNECT"sv) {
        wrong = RestAnswer::error(405, "Method Not Allowed"sv);
    } else if (const std::string_view why = trouble_with(method_, target_); !why.empty()) {
        wrong = RestAnswer::error(400, "malformed request: " + std::string(why));
    } else {
        wanted_ = call_->on_head_end(length_);
        return;
    }
    call_->refuse(wrong);
}

void RestStream::on_data(const uint8_t* data, size_t size) {
    if (wanted_) wanted_ = call_->on_data(data, size);
}

void RestStream::run() {
    if (wanted_) call_->on_body_end(session_.more_ready());
    wanted_ = false;
}

void RestStream::respond(RestAnswer& answer) {
    if (gone() || answered()) return;
    std::vector<Field> fields;
    fields.reserve(8 + answer.fields.size());
    char status[12];
    char length[24];
    const auto number = [](auto value, char* begin, size_t size) {
        return std::string_view(begin, static_cast<size_t>(std::to_chars(begin, begin + size, value).ptr - begin));
    };
    const bool is_head = method_ == "HEAD"sv;
    fields.push_back({":status"sv, number(answer.status, status, sizeof status)});
    fields.push_back({"date"sv, http_date()});
    for (const auto& [name, value] : answer.fields) fields.push_back({name, value});
    if (!answer.from_python) {
        fields.push_back({"content-type"sv, "application/json"sv});
        if (answer.packing != Packing::kNone) fields.push_back({"content-encoding"sv, name_of(answer.packing)});
        if (!answer.vary.empty()) fields.push_back({"vary"sv, answer.vary});
        if (!answer.accept_encoding.empty()) fields.push_back({"accept-encoding"sv, answer.accept_encoding});
        if (answer.retry) fields.push_back({"retry-after"sv, "1"sv});
    }
    if (is_head && !answer.told_length.empty()) fields.push_back({"content-length"sv, answer.told_length});
    else if (answer.status != kNotModified) fields.push_back({"content-length"sv, number(answer.content.size(), length, sizeof length)});
    content_ = std::move(answer.content);
    const bool empty = is_head || content_.size() == 0;
    if (!empty) {
        counted_ = static_cast<int64_t>(content_.size());
        session_.count_answers(counted_);
    }
    submit(fields.data(), fields.size(), empty);
    send();
}

Http2Stream::Chunk RestStream::produce(size_t most) {
    Chunk chunk;
    chunk.data = content_.data() + sent_;
    chunk.size = std::min(most, content_.size() - sent_);
    sent_ += chunk.size;
    chunk.last = sent_ == content_.size();
    return chunk;
}

void RestStream::on_close() {
    session_.count_answers(-counted_);
    counted_ = 0;
    call_->leave();
}

}  // namespace ovms::net
