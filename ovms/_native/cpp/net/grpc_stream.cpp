#include "grpc_stream.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "grpc_text.hpp"
#include "tensor_offset.hpp"

namespace ovms::net {
namespace {

using namespace std::string_view_literals;

constexpr auto kPredictPath = "/tensorflow.serving.PredictionService/Predict"sv;
constexpr auto kContentType = "application/grpc"sv;
constexpr auto kEncodings = "identity,deflate,gzip"sv;

constexpr size_t kLargeContent = 64 << 10;  // from here on an aligned tensor is not copied
constexpr size_t kLongestPath = 256;        // bytes of a path that are worth keeping

constexpr int kInternal = static_cast<int>(Code::kInternal);
constexpr int kUnimplemented = 12;
constexpr int kResourceExhausted = static_cast<int>(Code::kResourceExhausted);

// A gRPC call that has gone to Python.
class GrpcColdCall final : public ColdCall {
public:
    GrpcColdCall(std::shared_ptr<GrpcStream> stream, std::atomic<size_t>& count) : ColdCall(count), stream_(std::move(stream)) {
        grpc = true;
    }

    bool gone() const override { return stream_->left(); }
    void send(std::string_view message) override {
        auto answer = std::make_shared<Answer>();
        if (answer->allocate(message.size()) == nullptr) return finish(kResourceExhausted, "out of memory");
        std::copy(message.begin(), message.end(), answer->data());
        stream_->post([answer](GrpcStream& stream) { stream.send_message(std::move(*answer), false); });
    }
    void finish(int code, std::string_view message) override {
        stream_->post([code, text = std::string(message)](GrpcStream& stream) { stream.finish(code, text); });
    }
    void respond(int, std::vector<std::pair<std::string, std::string>>, std::string_view) override {}

private:
    const std::shared_ptr<GrpcStream> stream_;
};

}  // namespace

std::unique_ptr<Session> GrpcPort::open_session(Connection& connection, std::string_view) {
    return std::make_unique<Http2Session>(connection, *this);
}

std::shared_ptr<Http2Stream> GrpcPort::open(Http2Session& session, int32_t id) {
    auto stream = std::make_shared<GrpcStream>(session, id, *this);
    return stream->hold() ? stream : nullptr;
}

void GrpcStream::on_header(std::string_view name, std::string_view value) {
    if (name == ":path"sv) {
        if (value == kPredictPath && !port_.settings.predict_in_python) route_ = Route::kPredict;
        else path_ = value.substr(0, kLongestPath + 1);  // longer ones are of no call
    } else if (name == ":method"sv) {
        is_post_ = value == "POST"sv;
    } else if (name == "content-type"sv) {
        // application/grpc, application/grpc+proto; not application/grpc-web
        is_grpc_ = value.starts_with(kContentType) &&
                   (value.size() == kContentType.size() || value[kContentType.size()] == '+' || value[kContentType.size()] == ';');
    } else if (name == "grpc-timeout"sv) {
        std::chrono::nanoseconds timeout{};
        timeout_is_malformed_ = !parse_grpc_timeout(value, timeout);
        deadline_ = Clock::now() + timeout;
    } else if (name == "grpc-encoding"sv) {
        packing_ = value == "gzip"sv ? Packing::kGzip : value == "deflate"sv ? Packing::kDeflate : Packing::kNone;
        encoding_is_known_ = packing_ != Packing::kNone || value == "identity"sv;
    } else if (name == "grpc-accept-encoding"sv) {
        takes_gzip_ = value.find("gzip"sv) != std::string_view::npos;
    } else if (port_.traced && name == "traceparent"sv) {
        parent_.read(value);
    } else if (port_.gate != nullptr) {
        port_.gate->on_header(presented_, *connection_, name, value);
    }
}

bool GrpcStream::is_let_in() {
    const GrpcSettings& settings = port_.settings;
    Scope scope = Scope::kPredict;
    if (route_ == Route::kNone && settings.open_paths.contains(path_)) scope = Scope::kOpen;
    else if (route_ == Route::kNone && settings.admin_paths.contains(path_)) scope = Scope::kAdmin;
    const Refused why = port_.gate->judge(presented_, port_, *connection_, scope);
    if (why == Refused::kNot) return true;
    const Gate::Answer answer = port_.gate->answer(why);
    finish(answer.code, answer.text);
    return false;
}

void GrpcStream::on_headers_end() {
    if (headers_too_large()) return finish(kResourceExhausted, "the call's headers are larger than 64 KiB");
    if (!is_post_) return submit({{":status", "405"}, {"allow", "POST"}}, true);
    if (!is_grpc_) return submit({{":status", "415"}}, true);
    if (port_.gate != nullptr && !is_let_in()) return;
    if (timeout_is_malformed_) return finish(kInternal, "grpc-timeout: expected up to eight digits and one of H M S m u n");
    if (!encoding_is_known_) return finish(kUnimplemented, "grpc-encoding: expected one of identity, deflate, gzip");
    if (route_ == Route::kPredict) return;
    if (!port_.settings.cold_paths.contains(path_)) return finish(kUnimplemented, "Method not found!");
    route_ = Route::kCold;
}

void GrpcStream::on_data(const uint8_t* data, size_t size) {
    if (prefix_size_ < kPrefix) {
        const size_t taken = std::min(size, kPrefix - prefix_size_);
        std::memcpy(prefix_.data() + prefix_size_, data, taken);
        prefix_size_ += taken;
        data += taken;
        size -= taken;
        if (prefix_size_ < kPrefix) return;
        begin_message();
        if (answered()) return;
    }
    if (size == 0) return;
    if (size > expected_ - body_.size()) return finish(kInternal, "the call has more than one message, or bytes behind it");
    if (!began_) {
        const size_t offset = expected_ < kLargeContent || prefix_[0] != 0 ? 0 : large_content_offset(data, size, kLargeContent);
        began_ = body_.begin(expected_, 64 - offset % 64);
        if (!began_) return finish(kResourceExhausted, "out of memory");
    }
    if (!body_.append(data, size)) finish(kResourceExhausted, "there is no memory for a message of so many bytes now");
}

void GrpcStream::begin_message() {
    expected_ = size_t{prefix_[1]} << 24 | size_t{prefix_[2]} << 16 | size_t{prefix_[3]} << 8 | prefix_[4];
    if (prefix_[0] > 1 || (prefix_[0] == 1 && packing_ == Packing::kNone))
        return finish(kInternal, "a message's first byte: expected 0, or 1 with a grpc-encoding");
    if (expected_ > port_.settings.max_message)
        finish(kResourceExhausted, "Received message larger than max (" + std::to_string(expected_) + " vs. " +
                                       std::to_string(port_.settings.max_message) + ")");
}

void GrpcStream::run() {
    ticks_.whole = request_ended_at();
    if (prefix_size_ < kPrefix || body_.size() < expected_)
        return finish(kInternal, prefix_size_ == 0 ? "the call has no message" : "the call's message is cut off");
    if (prefix_[0] == 0) packing_ = Packing::kNone;
    unpack_message();
}

void GrpcStream::on_unpacked(Unpacked result) {
    switch (result) {
        case Unpacked::kOk: break;
        case Unpacked::kTooLarge:
            return finish(kResourceExhausted,
                          "Received message larger than max (" + std::to_string(port_.settings.max_message) + ") once unpacked");
        case Unpacked::kOutOfMemory: return finish(kResourceExhausted, "out of memory");
        case Unpacked::kMalformed: return finish(kInternal, "the message cannot be unpacked: " + why_);
    }
    if (route_ == Route::kCold) return pass_to_python();
    if (port_.draining() && session_.refuses()) return finish(static_cast<int>(Code::kUnavailable), "the server is stopping");
    predict(true, session_.more_ready());
}

void GrpcStream::on_crowded() { finish(kResourceExhausted, "too many messages wait to be unpacked"); }

void GrpcStream::on_late() {
    finish(static_cast<int>(Code::kDeadlineExceeded), "the call's turn did not come within its deadline");
}

Status GrpcStream::predict_now(const Caller& caller) {
    return port_.plane.predict_tfs_proto(*port_.plane.registry, body_.data(), body_.size(), port_.settings.predict, caller,
                                         computed_.sink(), nullptr);
}

void GrpcStream::on_predicted() {
    if (ticks_.done == 0) {
        body_.clear();
        ticks_.infer = run_.began;
        ticks_.inferred = run_.ended;
        ticks_.done = 1;
        if (is_timed()) count("Predict"sv, model.get(), true, status_.number());
        model = {};
    }
    if (!status_.ok()) return finish(status_.number(), status_.message);
    if (!gone() && packs_elsewhere(computed_.size())) return;
    send_message(std::move(computed_), packed_);
    finish(0, {});
}

// Whoever packs its requests gets packed answers; for all others latency counts.
bool GrpcStream::wants_packed() const {
    return answers_packed() && !packed_ && status_.ok() && computed_.size() > kLeastPacked;
}

void GrpcStream::pack_answer() {
    Answer smaller;
    packed_ = pack_gzip(computed_.text(), smaller);
    if (packed_) computed_ = std::move(smaller);
}

void GrpcStream::pass_to_python() {
    if (port_.python_is_full())
        return finish(kResourceExhausted, "too many calls wait for their answers");
    auto call = std::make_shared<GrpcColdCall>(self(), port_.cold_calls);
    call->path = path_.empty() ? std::string(kPredictPath) : path_;
    call->body = std::move(body_);
    call->deadline = deadline_;
    cold_ = call;
    port_.cold.push({std::move(call), false});
}

void GrpcStream::send_message(Answer message, bool packed) {
    if (gone() || finished_) return;
    if (message.size() > port_.settings.max_message)
        return finish(kResourceExhausted, "Sent message larger than max (" + std::to_string(message.size()) + " vs. " +
                                              std::to_string(port_.settings.max_message) + ")");
    uint8_t* const head = message.data() - kPrefix;
    const size_t size = message.size();
    head[0] = packed ? 1 : 0;
    for (size_t i = 1; i < kPrefix; ++i) head[i] = static_cast<uint8_t>(size >> (8 * (kPrefix - 1 - i)));
    counted_ += static_cast<int64_t>(size);
    session_.count_answers(static_cast<int64_t>(size));
    messages_.push_back(std::move(message));
    if (cold_ != nullptr) {
        submit_head();
        resume();
    }
}

void GrpcStream::finish(int code, std::string_view text) {
    if (gone() || finished_) return;
    finished_ = true;
    code_ = code;
    if (ticks_.done == 0 && is_timed()) {  // no prediction
        const std::string_view method = route_ == Route::kCold ? std::string_view(path_).substr(path_.rfind('/') + 1) : "refused"sv;
        count(method, nullptr, false, code);
    }
    if (code != 0) text_ = grpc_message(text);
    if (messages_.empty()) {
        char digits[12];
        const auto end = std::to_chars(digits, digits + sizeof digits, code).ptr;
        const std::string_view number(digits, static_cast<size_t>(end - digits));
        if (encoding_is_known_)
            submit({{":status", "200"}, {"content-type", kContentType}, {"grpc-status", number}, {"grpc-message", text_}}, true);
        else
            submit({{":status", "200"}, {"content-type", kContentType}, {"grpc-accept-encoding", kEncodings},
                    {"grpc-status", number}, {"grpc-message", text_}}, true);
    } else {
        submit_head();
        resume();
    }
}

void GrpcStream::count(std::string_view method, const Model* of, bool is_prediction, int code) {
    ticks_.done = ticks_now();
    IoLoop& loop = connection_->loop();
    if (port_.settings.metrics) {
        if (is_prediction) loop.metrics().count_predict(Interface::kGrpc, of, code, ticks_);
        else loop.metrics().count_other(Interface::kGrpc, method, code, ticks_);
    }
    if (port_.traced) loop.spans()->record({method, of, code, 0}, ticks_, parent_);
}

void GrpcStream::submit_head() {
    if (head_sent_) return;
    head_sent_ = true;
    if (answers_packed())
        submit({{":status", "200"}, {"content-type", kContentType}, {"grpc-encoding", "gzip"}, {"grpc-accept-encoding", kEncodings}}, false);
    else
        submit({{":status", "200"}, {"content-type", kContentType}, {"grpc-accept-encoding", kEncodings}}, false);
}

Http2Stream::Chunk GrpcStream::produce(size_t most) {
    Chunk chunk;
    // A small message was copied, so that a stream that stays open needs no more memory with time.
    if (sent_messages_ > 0 && messages_[sent_messages_ - 1].size() < kLeastPacked) messages_[sent_messages_ - 1].clear();
    if (sent_messages_ < messages_.size()) {
        const Answer& message = messages_[sent_messages_];
        const size_t whole = kPrefix + message.size();
        chunk.data = message.data() - kPrefix + sent_of_message_;
        chunk.size = std::min(most, whole - sent_of_message_);
        sent_of_message_ += chunk.size;
        if (sent_of_message_ == whole) {
            ++sent_messages_;
            sent_of_message_ = 0;
        }
    }
    if (sent_messages_ == messages_.size() && finished_) {
        chunk.last = chunk.trailers = true;
        if (code_ == 0) submit_trailers({{"grpc-status", "0"}});
        else submit_trailers({{"grpc-status", std::to_string(code_)}, {"grpc-message", text_}});
    }
    return chunk;
}

void GrpcStream::on_close() {
    session_.count_answers(-counted_);
    counted_ = 0;
    leave();
    if (cold_ != nullptr) {
        const std::shared_ptr<ColdCall> call = std::move(cold_);  // which holds this stream
        if (!finished_) port_.cold.push({call, true});
    }
}

}  // namespace ovms::net
