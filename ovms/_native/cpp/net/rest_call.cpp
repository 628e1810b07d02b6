#include "rest_call.hpp"

#include <algorithm>
#include <utility>

#include "rest_text.hpp"

namespace ovms::net {
namespace {

using namespace std::string_view_literals;

constexpr size_t kLargeJson = 64 << 10;      // from here on a body is read, and an answer written, by another thread
constexpr size_t kFieldBytes = 64;           // that a header takes besides its text

constexpr auto kStopping = "the server is stopping"sv;
constexpr auto kAskPassword = "Basic realm=\"ovms\", charset=\"UTF-8\""sv;  // which browsers ask people for

// A request that has gone to Python.
class RestColdCall final : public ColdCall {
public:
    RestColdCall(std::shared_ptr<RestCall> call, std::atomic<size_t>& count) : ColdCall(count), call_(std::move(call)) {}

    bool gone() const override { return call_->left(); }
    void send(std::string_view) override {}
    void finish(int, std::string_view) override {}
    void respond(int status, std::vector<std::pair<std::string, std::string>> fields, std::string_view content) override {
        auto answer = std::make_shared<RestAnswer>();
        answer->status = status;
        answer->from_python = true;
        for (auto& [name, value] : fields) {
            if (same_name(name, "connection"sv)) answer->close |= same_name(value, "close"sv);
            else if (same_name(name, "content-length"sv)) answer->told_length = std::move(value);
            else answer->fields.emplace_back(lowered(name), std::move(value));
        }
        if (answer->content.allocate(content.size()) != nullptr)
            std::copy(content.begin(), content.end(), answer->content.data());
        else *answer = RestAnswer::error(http_status(Code::kResourceExhausted), "out of memory"sv);
        call_->respond(answer);
    }

private:
    const std::shared_ptr<RestCall> call_;
};

std::string too_large(size_t limit) {
    return "the body is larger than the " + std::to_string(limit) + " bytes this server takes";
}

void append(std::string& list, std::string_view value) {
    if (!list.empty()) list += ", "sv;
    list += value;
}

}  // namespace

RestAnswer RestAnswer::error(int status, std::string_view message) {
    RestAnswer answer;
    answer.status = status;
    answer.retry = status == 429 || status == 503;
    const std::string body = error_body(message);
    if (answer.content.allocate(body.size()) != nullptr) std::copy(body.begin(), body.end(), answer.content.data());
    return answer;
}

void RestCall::begin(Client& client, std::string_view method, std::string_view target, uint64_t first) {
    renew();
    client_ = &client;
    ticks_.first = first;
    code_ = -1;
    method_ = method;
    target_ = target;
    is_predict_ = method == "POST"sv && find_predict_route(target_, route_);
    in_python_ = port_.settings.predict_in_python;
    keeps_headers_ = !is_predict_ || in_python_ || port_.settings.cors;
    has_timeout_ = timeout_is_malformed_ = began_ = is_preflight_ = false;
    presented_ = {};
    presented_.takes_password = method == "GET"sv || method == "HEAD"sv;
    origin_.clear();
    encoding_.clear();
    accepted_.clear();
    headers_.clear();
    header_bytes_ = 0;
    held_.release();
}

void RestCall::on_header(std::string_view name, std::string_view value) {
    if (same_name(name, "content-encoding"sv)) {
        append(encoding_, value);
    } else if (same_name(name, "accept-encoding"sv)) {
        append(accepted_, value);
    } else if (same_name(name, "x-request-timeout"sv)) {
        timeout_is_malformed_ = has_timeout_ || !parse_seconds(value, timeout_);
        has_timeout_ = true;
    } else if (port_.settings.cors && same_name(name, "origin"sv)) {
        in_python_ = true;
        origin_ = value;
    } else if (port_.settings.cors && method_ == "OPTIONS"sv && same_name(name, "access-control-request-method"sv)) {
        is_preflight_ = true;
    } else if (port_.traced && same_name(name, "traceparent"sv)) {
        parent_.read(value);
    } else if (port_.gate != nullptr) {
        port_.gate->on_header(presented_, *connection_, name, value);
    }
    if (!keeps_headers_) return;
    header_bytes_ += name.size() + value.size() + kFieldBytes;
    headers_.emplace_back(lowered(name), value);
}

bool RestCall::on_head_end(std::optional<uint64_t> length) {
    length_ = length;
    if (!held_.grow(header_bytes_)) {
        fail(http_status(Code::kResourceExhausted), "there is no memory for a request of so many headers now"sv);
        return false;
    }
    if (port_.gate != nullptr && is_shut_out()) return false;
    if (!is_predict_) {
        pass_to_python({});
        return false;
    }
    RestAnswer why;
    if (!is_refused(why)) return true;
    // Python tells the same, with what pages of other origins need.
    if (in_python_) pass_to_python({});
    else refuse(why);
    return false;
}

bool RestCall::is_shut_out() {
    const Scope scope = is_preflight_ && in_python_ ? Scope::kOpen : scope_of(target_);
    const Refused why = port_.gate->judge(presented_, port_, *connection_, scope);
    if (why == Refused::kNot) return false;
    const Gate::Answer refused = port_.gate->answer(why);
    RestAnswer answer = RestAnswer::error(refused.http, refused.text);
    // Not by Python, whose threads are for those who were let in.
    const RestSettings& settings = port_.settings;
    if (!origin_.empty() && (settings.any_origin || settings.origins.contains(origin_)))
        answer.fields.emplace_back("access-control-allow-origin", settings.any_origin ? "*" : origin_);
    if (why == Refused::kNoKey || why == Refused::kWrongKey)
        answer.fields.emplace_back("www-authenticate", scope == Scope::kAnyKey ? kAskPassword : "Bearer"sv);
    refuse(answer);
    return true;
}

// What can be said without the body.
bool RestCall::is_refused(RestAnswer& why) const {
    Packing packing{};
    if (port_.draining()) {
        why = RestAnswer::error(503, kStopping);
    } else if (!route_.trouble.empty()) {
        why = RestAnswer::error(400, route_.trouble);
    } else if (timeout_is_malformed_) {
        why = RestAnswer::error(400, "X-Request-Timeout: expected a number of seconds, such as 1.5"sv);
    } else if (!parse_packing(encoding_, packing)) {
        constexpr size_t kShown = 64;
        const std::string shown = lowered(trimmed(encoding_)).substr(0, kShown);
        why = RestAnswer::error(415, "Content-Encoding: expected gzip, deflate or none, got " + shown);
        why.accept_encoding = "gzip, deflate"sv;
    } else if (length_.value_or(0) > port_.settings.max_body) {
        why = RestAnswer::error(413, too_large(port_.settings.max_body));
    } else {
        return false;
    }
    return true;
}

bool RestCall::on_data(const uint8_t* data, size_t size) {
    if (!began_) began_ = body_.begin(std::max<size_t>(size, length_.value_or(0)));
    const bool too_many = size > port_.settings.max_body - std::min(body_.size(), port_.settings.max_body);
    if (too_many && !in_python_) {
        fail(413, too_large(port_.settings.max_body));
        return false;
    }
    if (!began_ || !body_.append(data, size)) {
        fail(http_status(Code::kResourceExhausted), "there is no memory for a message of so many bytes now"sv);
        return false;
    }
    if (too_many) pass_to_python({});  // which sees it
    return !too_many;
}

void RestCall::on_body_broken(std::string why) {
    if (in_python_) pass_to_python(std::move(why));
    else fail(400, why);
}

void RestCall::on_body_end(bool others) {
    if (in_python_) return pass_to_python({});
    ticks_.whole = ticks_now();
    others_ = others;
    if (has_timeout_) deadline_ = Clock::now() + timeout_;
    else if (port_.settings.timeout_seconds > 0) deadline_ = deadline_after(port_.settings.timeout_seconds);
    parse_packing(encoding_, packing_);
    unpack_message();
}

void RestCall::on_crowded() { fail(http_status(Code::kResourceExhausted), "too many requests wait to be unpacked"sv); }

void RestCall::on_late() {
    fail(http_status(Code::kDeadlineExceeded), "the call's turn did not come within its deadline"sv);
}

void RestCall::on_unpacked(Unpacked result) {
    switch (result) {
        case Unpacked::kOk: return predict(!answers_are_large_ && body_.size() <= kLargeJson, others_);
        case Unpacked::kTooLarge: return fail(413, too_large(std::min(port_.settings.max_body, kMostUnpacked)));
        case Unpacked::kOutOfMemory: return fail(http_status(Code::kResourceExhausted), "out of memory"sv);
        case Unpacked::kMalformed: return fail(400, "the body is not " + lowered(trimmed(encoding_)) + ": " + why_);
    }
}

Status RestCall::predict_now(const Caller& caller) {
    static constexpr uint8_t kNothing = 0;  // the reader wants a zero behind the text
    const uint8_t* const data = body_.size() == 0 ? &kNothing : body_.data();
    return port_.plane.predict_tfs_json(*port_.plane.registry, route_.key, data, body_.size(), caller, computed_.sink(), nullptr);
}

void RestCall::set_result(Status status) {
    code_ = status.number();
    if (status.ok()) {
        answer_ = {};
        answer_.content = std::move(computed_);
    } else {
        answer_ = RestAnswer::error(http_status(status.code), status.message);
    }
}

void RestCall::set_out_of_memory() noexcept {
    answer_ = {};
    answer_.status = http_status(Code::kResourceExhausted);
    code_ = static_cast<int>(Code::kResourceExhausted);
}

bool RestCall::wants_packed() const {
    return !accepted_.empty() && answer_.packing == Packing::kNone && answer_.content.size() > kLeastPacked &&
           answer_packing(accepted_) != Packing::kNone;
}

void RestCall::pack_answer() {
    const Packing wanted = answer_packing(accepted_);
    if (Answer smaller; pack(wanted, answer_.content.text(), smaller)) {
        answer_.packing = wanted;
        answer_.content = std::move(smaller);
    }
}

// There is an answer, which may have to be packed.
void RestCall::on_predicted() {
    if (ticks_.done == 0) {
        answers_are_large_ = answer_.content.size() > kLargeJson;
        body_.clear();
        count();
        model = {};
    }
    if (client_ != nullptr && packs_elsewhere(answer_.content.size())) return;
    finish();
}

void RestCall::fail(int status, std::string_view message) {
    RestAnswer why = RestAnswer::error(status, message);
    refuse(why);
}

void RestCall::refuse(RestAnswer& why) {
    answer_ = std::move(why);
    finish();
}

void RestCall::finish() {
    body_.clear();
    if (ticks_.done == 0) count();
    model = {};
    if (client_ == nullptr) return;
    if (!answer_.from_python) {
        const bool varies = answer_.packing != Packing::kNone || answer_.content.size() > kLeastPacked;
        if (port_.settings.vary_origin()) answer_.vary = varies ? "Origin, Accept-Encoding"sv : "Origin"sv;
        else if (varies) answer_.vary = "Accept-Encoding"sv;
    }
    if (port_.draining()) answer_.close = true;
    std::exchange(client_, nullptr)->respond(answer_);
}

void RestCall::count() {
    ticks_.done = ticks_now();
    const bool counted = port_.settings.metrics;
    if (!counted && !port_.traced) return;
    IoLoop& loop = connection_->loop();
    CallEnd end{"Predict"sv, nullptr, code_, answer_.status};
    if (code_ >= 0) {
        ticks_.infer = run_.began;
        ticks_.inferred = run_.ended;
        end.model = model.get();
        if (counted) loop.metrics().count_predict(Interface::kRest, end.model, code_, ticks_);
    } else {
        end.method = answer_.from_python ? page() : "refused"sv;
        end.code = code_of(answer_.status);
        if (end.method.empty()) return;
        if (counted) loop.metrics().count_other(Interface::kRest, end.method, end.code, ticks_);
    }
    if (port_.traced) loop.spans()->record(end, ticks_, parent_);
}

// What Python was asked for, as counters name it; nothing for pages that only tell of counters: who watches would count.
std::string_view RestCall::page() const {
    const std::string path = lowered(std::string_view(target_).substr(0, target_.find('?')));
    if (is_predict_) return "Predict"sv;
    if (path == "/metrics"sv) return {};
    if (answer_.status < 400 && (path == "/"sv || path.starts_with("/status/"sv))) return {};
    if (path == "/v1/config/reload"sv) return "HandleReloadConfigRequest"sv;
    if (path == "/v1/config"sv) return "ConfigStatus"sv;
    if (path == "/v2/health/live"sv) return "ServerLive"sv;
    if (path == "/v2/health/ready"sv) return "ServerReady"sv;
    if (path.starts_with("/v2/models/"sv)) return "ModelReady"sv;
    if (path.starts_with("/v1/models"sv)) return path.ends_with("/metadata"sv) ? "GetModelMetadata"sv : "GetModelStatus"sv;
    return "refused"sv;
}

void RestCall::respond(const std::shared_ptr<RestAnswer>& answer) {
    connection_->loop().post([me = shared_from_this(), answer] {
        me->connection_->attempt([&] {
            if (me->client_ != nullptr) me->refuse(*answer);
        });
    });
}

void RestCall::pass_to_python(std::string trouble) {
    if (port_.python_is_full())
        return fail(http_status(Code::kResourceExhausted), "too many requests wait for their answers"sv);
    auto call = std::make_shared<RestColdCall>(shared_from_this(), port_.cold_calls);
    call->method = method_;
    call->path = target_;
    call->headers = std::move(headers_);
    call->peer = client_->peer();
    call->protocol = client_->protocol();
    call->body = std::move(body_);
    call->body_trouble = std::move(trouble);
    headers_.clear();
    port_.cold.push({std::move(call), false});
}

void RestCall::leave() {
    client_ = nullptr;
    Call::leave();
}

}  // namespace ovms::net
