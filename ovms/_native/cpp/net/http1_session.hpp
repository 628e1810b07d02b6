// HTTP/1.1 on one connection: requests one after the other, answers in their order, and when the connection ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "connection.hpp"
#include "held_bytes.hpp"
#include "http1_reader.hpp"
#include "rest_call.hpp"
#include "rest_port.hpp"
#include "session.hpp"

namespace ovms::net {

class Http1Session final : public Session, public RestCall::Client {
public:
    Http1Session(Connection& connection, RestPort& port) : connection_(connection), port_(port) {}

    void on_bytes(const uint8_t* data, size_t size) override;
    void on_end() override;
    void on_close() override;
    void fill() override;
    size_t awaited() const override { return wanted_ && !request_ended_ ? call_->awaited() : 0; }
    bool busy() const override { return reader_.in_body() && !answered_; }
    bool answered_any() const override { return answered_any_; }
    void drain() override {}
    void tick(uint64_t milliseconds) override;

    void respond(RestAnswer& answer) override;
    std::string peer() override;
    std::string_view protocol() const override;

private:
    size_t read(const uint8_t* data, size_t size);
    void on_head();
    void on_request_end(bool others);
    void refuse(int status, std::string_view text);
    void next_request();
    void go_on();
    void settle();
    void end_if_done();
    void watch_time();
    void on_time();
    bool can_skip() const;

    // A body that nobody wants, and that is not sure to be short: the connection ends with the answer.
    bool leaves_body() const { return !request_ended_ && !wanted_ && reader_.head().has_body() && !can_skip(); }

    Connection& connection_;
    RestPort& port_;
    Http1Reader reader_;
    std::shared_ptr<RestCall> call_;
    std::vector<uint8_t> rest_;  // what was not read yet, from rest_begin_ on
    size_t rest_begin_ = 0;
    HeldBytes held_;             // by these
    uint64_t first_ = 0;         // when the request's first byte came, in ticks
    std::string head_;           // of an answer, while it is made

    // Of the request that is read or answered
    bool is_head_ = false;
    bool wanted_ = false;         // its body goes to the call
    bool allowed_ = false;        // its client was told to send the body
    bool too_slow_ = false;       // nobody waits for the rest of its body
    bool request_ended_ = false;  // all of it was read
    bool answered_ = false;

    Deadline until_ = Deadline::max();  // that the request has to arrive
    IoLoop::DeadlineKey alarm_{};
    bool alarmed_ = false;
    int idle_seconds_ = 0;

    bool answered_any_ = false;
    bool working_ = false;   // it reads, and what it adds is sent afterwards
    bool settling_ = false;
    bool blocked_ = false;  // the client does not take its answers
    bool closing_ = false;  // with the last answer
    bool linger_ = false;
    bool ended_ = false;    // the client sends no more
};

}  // namespace ovms::net
