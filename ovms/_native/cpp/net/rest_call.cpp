#include "rest_call.hpp"

#include <algorithm>
#include <new>
#include <thread>
#include <utility>

#include "../ticks.hpp"
#include "rest_text.hpp"

namespace ovms::net {
namespace {

using namespace std::string_view_literals;

// As gRPC's.
constexpr auto kLongestAlone = std::chrono::microseconds(200);
constexpr auto kLongestAmongOthers = std::chrono::microseconds(100);
constexpr size_t kMostPackedHere = 32 << 10;
constexpr size_t kMostCold = 16'384;
constexpr auto kLookForMemory = std::chrono::milliseconds(10);

constexpr size_t kLargeJson = 64 << 10;      // from here on a body is read, and an answer written, by another thread
constexpr size_t kLeastPacked = 1024;        // bytes up to which an answer is not worth compressing
constexpr size_t kMostUnpacked = 100 << 20;  // that a packed body may unpack to: its sender has to send only a thousandth
constexpr size_t kFieldBytes = 64;           // that a header takes besides its text

constexpr auto kStopping = "the server is stopping"sv;

// A request that has gone to Python.
class RestColdCall final : public ColdCall {
public:
    RestColdCall(std::shared_ptr<RestCall> call, std::atomic<size_t>& count) : call_(std::move(call)), count_(count) {
        count_.fetch_add(1, std::memory_order_relaxed);
    }
    ~RestColdCall() override { count_.fetch_sub(1, std::memory_order_relaxed); }

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
    std::atomic<size_t>& count_;
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
    client_ = &client;
    ticks_ = {};
    run_ = {};
    ticks_.first = first;
    code_ = -1;
    method_ = method;
    target_ = target;
    is_predict_ = method == "POST"sv && find_predict_route(target_, route_);
    in_python_ = port_.settings.predict_in_python;
    keeps_headers_ = !is_predict_ || in_python_ || port_.settings.cors;
    has_timeout_ = timeout_is_malformed_ = began_ = false;
    encoding_.clear();
    accepted_.clear();
    headers_.clear();
    header_bytes_ = 0;
    held_.release();
    packing_ = Packing::kNone;
    deadline_ = Deadline::max();
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
    if (packing_ == Packing::kNone) return predict();
    // A few bytes can become many: what takes long is for another thread.
    if (body_.size() <= kMostPackedHere && unpack_body(kMostPackedHere)) return unpacked(unpacked_);
    if (!queue(Work::kUnpack)) fail(http_status(Code::kResourceExhausted), "too many requests wait to be unpacked"sv);
}

// False: the body has more bytes than the limit, though not more than any may have.
bool RestCall::unpack_body(size_t limit) {
    const size_t most = std::min(port_.settings.max_body, kMostUnpacked);
    Body unpacked;
    unpacked_ = unpack(packing_, body_.data(), body_.size(), std::min(limit, most), unpacked, why_);
    if (unpacked_ == Unpacked::kOk) body_ = std::move(unpacked);
    return unpacked_ != Unpacked::kTooLarge || limit >= most;
}

void RestCall::unpacked(Unpacked result) {
    switch (result) {
        case Unpacked::kOk: return predict();
        case Unpacked::kTooLarge: return fail(413, too_large(std::min(port_.settings.max_body, kMostUnpacked)));
        case Unpacked::kOutOfMemory: return fail(http_status(Code::kResourceExhausted), "out of memory"sv);
        case Unpacked::kMalformed: return fail(400, "the body is not " + lowered(trimmed(encoding_)) + ": " + why_);
    }
}

void RestCall::predict() {
    Caller caller;
    caller.deadline = deadline_;
    caller.inline_only = true;
    if (!answers_are_large_ && body_.size() <= kLargeJson) caller.longest_run = others_ ? kLongestAmongOthers : kLongestAlone;
    caller.model = &model;
    caller.run = &run_;
    const Status status = compute_now(caller);
    if (status.code == Code::kPostponed && queue(Work::kPredict)) return;
    set_result(status.code == Code::kPostponed ? queue_is_full(*model, model->pool().max_queue()) : status);
    predicted();
}

Status RestCall::compute_now(const Caller& caller) {
    static constexpr uint8_t kNothing = 0;  // the reader wants a zero behind the text
    const uint8_t* const data = body_.size() == 0 ? &kNothing : body_.data();
    return port_.plane.predict_tfs_json(*port_.plane.registry, route_.key, data, body_.size(), caller, computed_.sink(), nullptr);
}

void RestCall::set_result(const Status& status) {
    code_ = status.number();
    if (status.ok()) {
        answer_ = {};
        answer_.content = std::move(computed_);
    } else {
        answer_ = RestAnswer::error(http_status(status.code), status.message);
    }
}

// Has another thread do something for the call, before its deadline; false if as many calls wait as may.
bool RestCall::queue(Work work) {
    const auto me = shared_from_this();
    work_ = work;
    if (deadline_ != Deadline::max()) {
        alarmed_ = true;
        alarm_ = connection_->loop().at(deadline_, [me] {
            me->alarmed_ = false;
            me->connection_->attempt([&] { me->out_of_time(); });
        });
    }
    queued_ = port_.scheduler.submit(me);
    if (!queued_) forget_alarm();
    return queued_;
}

void RestCall::compute() {
    const Work work = work_;
    try {
        if (work == Work::kUnpack) {
            unpack_body(SIZE_MAX);
        } else if (work == Work::kPredict) {
            Caller caller;
            caller.deadline = deadline_;
            caller.left = &left_;
            caller.model = &model;
            caller.run = &run_;
            set_result(compute_now(caller));
        }
        if (work != Work::kUnpack) pack_answer();
    } catch (const std::bad_alloc&) {
        unpacked_ = Unpacked::kOutOfMemory;
        answer_ = {};
        answer_.status = http_status(Code::kResourceExhausted);
        code_ = static_cast<int>(Code::kResourceExhausted);
    }
    while (true) {
        try {
            connection_->loop().post([me = shared_from_this(), work] { me->connection_->attempt([&] { me->computed(work); }); });
            return;
        } catch (const std::bad_alloc&) {
            // The client waits to be told, for which there has to be memory some time.
            std::this_thread::sleep_for(kLookForMemory);
        }
    }
}

void RestCall::computed(Work work) {
    queued_ = false;
    forget_alarm();
    if (work == Work::kUnpack && client_ != nullptr) return unpacked(unpacked_);
    if (work != Work::kUnpack) predicted();
}

void RestCall::out_of_time() {
    if (!queued_ || !port_.scheduler.withdraw(*this)) return;  // else it is about to find out by itself
    queued_ = false;
    if (work_ != Work::kPredict) return fail(http_status(Code::kDeadlineExceeded), "the call's turn did not come within its deadline"sv);
    set_result(none_became_free(*model));
    predicted();
}

bool RestCall::wants_packed() const {
    return !accepted_.empty() && answer_.packing == Packing::kNone && answer_.content.size() > kLeastPacked &&
           answer_packing(accepted_) != Packing::kNone;
}

void RestCall::pack_answer() {
    if (!wants_packed()) return;
    const Packing wanted = answer_packing(accepted_);
    if (Answer smaller; pack(wanted, answer_.content.text(), smaller)) {
        answer_.packing = wanted;
        answer_.content = std::move(smaller);
    }
}

// There is an answer, which may have to be packed.
void RestCall::predicted() {
    if (ticks_.done == 0) {
        answers_are_large_ = answer_.content.size() > kLargeJson;
        body_.clear();
        count();
        model = {};
    }
    if (client_ != nullptr && wants_packed()) {
        if (answer_.content.size() <= kMostPackedHere) pack_answer();
        else if (work_ != Work::kPack && queue(Work::kPack)) return;
    }
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
        if (port_.settings.vary_origin) answer_.vary = varies ? "Origin, Accept-Encoding"sv : "Origin"sv;
        else if (varies) answer_.vary = "Accept-Encoding"sv;
    }
    if (port_.draining()) answer_.close = true;
    std::exchange(client_, nullptr)->respond(answer_);
}

void RestCall::count() {
    ticks_.done = ticks_now();
    if (!port_.settings.metrics) return;
    Metrics& metrics = connection_->loop().metrics();
    if (code_ >= 0) {
        ticks_.infer = run_.began;
        ticks_.inferred = run_.ended;
        metrics.count_predict(Interface::kRest, model.shared().get(), code_, ticks_);
    } else if (const std::string_view name = answer_.from_python ? page() : "refused"sv; !name.empty()) {
        metrics.count_other(Interface::kRest, name, code_of(answer_.status), ticks_);
    }
}

// What Python was asked for, as counters name it; nothing for the page of counters itself.
std::string_view RestCall::page() const {
    const std::string path = lowered(std::string_view(target_).substr(0, target_.find('?')));
    if (is_predict_) return "Predict"sv;
    if (path == "/metrics"sv) return {};
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
    if (port_.cold_calls.load(std::memory_order_relaxed) >= kMostCold)
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
    left_.store(true, std::memory_order_relaxed);
    forget_alarm();
    if (queued_ && port_.scheduler.withdraw(*this)) queued_ = false;
    if (queued_) return;  // another thread reads it
    body_.clear();
    model = {};
}

void RestCall::forget_alarm() {
    if (alarmed_) connection_->loop().forget(alarm_);
    alarmed_ = false;
}

}  // namespace ovms::net
