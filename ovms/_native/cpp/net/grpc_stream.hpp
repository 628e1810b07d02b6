// One gRPC call. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "answer.hpp"
#include "call.hpp"
#include "grpc_port.hpp"
#include "http2_session.hpp"
#include "packing.hpp"

namespace ovms::net {

class GrpcStream final : public Http2Stream, public Call {
public:
    GrpcStream(Http2Session& session, int32_t id, GrpcPort& port)
        : Http2Stream(session, id), Call(port.scheduler, port.settings.max_message), port_(port) {
        ticks_.first = is_timed() ? ticks_now() : 0;
    }

    // False: the process holds too much for one call more.
    bool hold() { return held_.grow(kBytes); }

    void on_header(std::string_view name, std::string_view value) override;
    void on_headers_end() override;
    void on_data(const uint8_t* data, size_t size) override;
    void run() override;
    void on_close() override;
    size_t awaited() const override { return began_ ? expected_ - body_.size() : 0; }

    // Runs something on the loop's thread, and has what it answers leave; from any thread.
    template <class Do>
    void post(Do act) {
        connection_->loop().post([me = self(), act = std::move(act)]() mutable {
            me->connection_->attempt([&] {
                act(*me);
                me->send();
            });
        });
    }

    // The answer, on the loop's thread: messages, and their end with gRPC's code and a text.
    void send_message(Answer message, bool packed);
    void finish(int code, std::string_view text);

private:
    static constexpr size_t kBytes = 2048;  // what a call takes besides its message, nghttp2's part included
    static constexpr size_t kPrefix = 5;  // of a message: whether it is compressed, its length in four bytes

    Chunk produce(size_t most) override;
    void begin_message();
    bool answers_packed() const { return prefix_[0] == 1 && takes_gzip_; }
    void pass_to_python();
    bool is_timed() const { return port_.settings.metrics || port_.traced; }
    void count(std::string_view method, const Model* of, bool is_prediction, int code);
    bool is_let_in();
    void submit_head();

    std::shared_ptr<Call> shared_call() override { return self(); }
    Connection& connection() override { return *connection_; }
    bool client_has_gone() const override { return gone(); }
    Status predict_now(const Caller& caller) override;
    void set_result(Status status) override { status_ = std::move(status); }
    void set_out_of_memory() noexcept override { status_ = {Code::kResourceExhausted, "out of memory"}; }  // short: no allocation
    bool wants_packed() const override;
    void pack_answer() override;
    void on_unpacked(Unpacked result) override;
    void on_predicted() override;
    void on_late() override;
    void on_crowded() override;
    void send_answer() override { send(); }
    std::shared_ptr<GrpcStream> self() { return std::static_pointer_cast<GrpcStream>(shared_from_this()); }

    GrpcPort& port_;
    HeldBytes held_;

    // Of the headers
    enum class Route : uint8_t { kNone, kPredict, kCold } route_ = Route::kNone;
    bool is_post_ = false;
    bool is_grpc_ = false;
    bool timeout_is_malformed_ = false;
    bool takes_gzip_ = false;
    bool encoding_is_known_ = true;
    Presented presented_;
    std::string path_;  // of a cold call, or of none

    // Of the message
    std::array<uint8_t, kPrefix> prefix_{};
    size_t prefix_size_ = 0;
    size_t expected_ = 0;
    bool began_ = false;  // body_ has memory

    // Of the work
    Status status_;
    bool packed_ = false;  // computed_
    std::shared_ptr<ColdCall> cold_;

    // Of the answer
    std::vector<Answer> messages_;
    size_t sent_messages_ = 0;
    size_t sent_of_message_ = 0;
    int64_t counted_ = 0;
    bool head_sent_ = false;
    bool finished_ = false;
    int code_ = 0;
    std::string text_;
};

}  // namespace ovms::net
