// One request of REST, whatever version of HTTP brings it. ovms/api/rest.py has the same rules for predictions, and all
// other pages: those are answered there.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "answer.hpp"
#include "call.hpp"
#include "connection.hpp"
#include "held_bytes.hpp"
#include "packing.hpp"
#include "rest_port.hpp"
#include "rest_route.hpp"

namespace ovms::net {

struct RestAnswer {
    using Fields = std::vector<std::pair<std::string, std::string>>;

    int status = 200;
    Packing packing = Packing::kNone;  // of the content
    std::string_view vary;             // the headers that it depends on; empty: none
    std::string_view accept_encoding;  // of requests, where that was wrong
    bool retry = false;                // the client may come again in a second
    bool close = false;                // and has to open another connection for that
    bool from_python = false;          // what follows has all headers, but for those that belong to the connection
    Fields fields;
    std::string told_length;           // of an answer whose content is left out; empty: the content's own
    Answer content;

    static RestAnswer error(int status, std::string_view message);
};

class RestCall final : public Call, public std::enable_shared_from_this<RestCall> {
public:
    // Who brings the request, and takes the answer.
    class Client {
    public:
        virtual ~Client() = default;
        // The answer, once, on the connection's thread.
        virtual void respond(RestAnswer& answer) = 0;
        // Its address, and the protocol as WSGI has it.
        virtual std::string peer() = 0;
        virtual std::string_view protocol() const = 0;
    };

    RestCall(RestPort& port, Connection& connection)
        : Call(port.scheduler, std::min(port.settings.max_body, kMostUnpacked)), port_(port), connection_(connection.shared_from_this()) {}

    // The calls that follow are for the connection's thread, in this order. client stays until leave, or the answer; first:
    // when the request's first byte came, in ticks.
    void begin(Client& client, std::string_view method, std::string_view target, uint64_t first);
    void on_header(std::string_view name, std::string_view value);
    // No more headers. Whether a body is wanted; if not, the answer is on its way, or there already.
    bool on_head_end(std::optional<uint64_t> length);
    // Whether more of the body is wanted.
    bool on_data(const uint8_t* data, size_t size);
    // others: whether other requests of the connection wait.
    void on_body_end(bool others);
    // The body does not come to its end, or is none: why.
    void on_body_broken(std::string why);
    // Answers what is no request of REST.
    void refuse(RestAnswer& why);
    // Nobody waits for the answer any more.
    void leave();

    size_t body_size() const { return body_.size(); }
    // How many bytes of the body are still to come; 0: unknown. Before on_body_end only.
    size_t awaited() const { return began_ && length_.value_or(0) > body_.size() ? *length_ - body_.size() : 0; }

    // From any thread: Python's answer.
    void respond(const std::shared_ptr<RestAnswer>& answer);

private:
    static constexpr size_t kMostUnpacked = 100 << 20;  // a packed body's sender has to send only a thousandth of that

    bool is_refused(RestAnswer& why) const;
    void fail(int status, std::string_view message);
    bool is_shut_out();
    void pass_to_python(std::string trouble);
    void finish();
    void count();
    std::string_view page() const;

    std::shared_ptr<Call> shared_call() override { return shared_from_this(); }
    Connection& connection() override { return *connection_; }
    bool client_has_gone() const override { return client_ == nullptr; }
    Status predict_now(const Caller& caller) override;
    void set_result(Status status) override;
    void set_out_of_memory() noexcept override;
    bool wants_packed() const override;
    void pack_answer() override;
    void on_unpacked(Unpacked result) override;
    void on_predicted() override;
    void on_late() override;
    void on_crowded() override;

    RestPort& port_;
    const std::shared_ptr<Connection> connection_;
    Client* client_ = nullptr;

    // Of the head
    std::string method_;
    std::string target_;
    PredictRoute route_;
    bool is_predict_ = false;
    bool in_python_ = false;
    bool keeps_headers_ = false;
    bool is_preflight_ = false;  // of a page of another origin, which asks what it may send
    Presented presented_;
    bool has_timeout_ = false;
    bool timeout_is_malformed_ = false;
    std::chrono::nanoseconds timeout_{0};
    std::string encoding_;  // of the body, as the header has it
    std::string accepted_;  // encodings of the answer
    std::vector<std::pair<std::string, std::string>> headers_;
    size_t header_bytes_ = 0;
    std::string origin_;    // of the page that asks, if pages of other origins may
    HeldBytes held_;        // by these
    std::optional<uint64_t> length_;

    // Of the work
    bool began_ = false;  // body_ has memory
    bool others_ = false;
    bool answers_are_large_ = false;  // the last one was: outlives the request
    int code_ = -1;    // the prediction's; -1: there was none
    RestAnswer answer_;
};

}  // namespace ovms::net
