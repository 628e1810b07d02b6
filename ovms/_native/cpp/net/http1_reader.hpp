// Requests of HTTP/1.1 out of a connection's bytes, by Boost.Beast's parser, and stricter than it: what two readers may
// understand differently is an error. https://www.rfc-editor.org/rfc/rfc9112
#pragma once

#include <boost/beast/http/basic_parser.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ovms::net {

// What stands before a request's body. Views are of the bytes that were given when it was complete.
struct Http1Head {
    struct Field {
        std::string_view name;
        std::string_view value;
    };
    std::string_view method;
    std::string_view target;
    std::vector<Field> fields;  // without those whose name has an underscore: WSGI cannot tell it from a dash
    std::optional<uint64_t> length;
    bool chunked = false;
    bool is_1_1 = false;
    bool keeps_alive = false;
    bool expects_continue = false;

    bool has_body() const { return chunked || length.value_or(0) != 0; }
};

class Http1Reader {
public:
    static constexpr size_t kMostHead = 64 << 10;     // bytes of a request's line and headers
    static constexpr size_t kMostBetween = 16 << 10;  // bytes between two chunks, and of trailers

    enum class Event {
        kMore,   // nothing without more bytes
        kHead,   // head() is complete
        kBody,   // piece() is the body's next
        kEnd,    // the request is complete
        kError,  // status() and text() tell what is wrong; nothing follows
    };

    Http1Reader() { reset(); }

    // Ready for the next request.
    void reset();

    // Goes on with a request, up to the next event. data begins with what was not taken so far; taken is how much of it is
    // done with.
    Event read(const uint8_t* data, size_t size, size_t& taken);

    // The client sends no more than these bytes that were not taken: an error, if a request has begun. Its text is not for
    // bodies of a length.
    Event end(const uint8_t* data, size_t size);

    const Http1Head& head() const { return head_; }
    std::string_view piece() const { return piece_; }
    int status() const { return status_; }
    const std::string& text() const { return text_; }

    // Whether a byte of the request has come.
    bool begun() const { return begun_; }
    bool in_body() const { return head_done_; }

private:
    // Where something stands in the head, whose bytes may move until it is complete.
    struct Place {
        size_t begin = 0;
        size_t size = 0;
    };
    class Parser final : public boost::beast::http::basic_parser<true> {
    public:
        using Code = boost::beast::error_code;
        using Text = boost::beast::string_view;
        explicit Parser(Http1Reader& reader) : reader_(reader) {}

    private:
        void on_request_impl(boost::beast::http::verb, Text method, Text target, int version, Code&) override;
        void on_response_impl(int, Text, int, Code&) override {}
        void on_field_impl(boost::beast::http::field, Text name, Text value, Code&) override;
        void on_header_impl(Code&) override {}
        void on_body_init_impl(const boost::optional<uint64_t>&, Code&) override {}
        size_t on_body_impl(Text body, Code&) override;
        void on_chunk_header_impl(uint64_t size, Text, Code&) override;
        size_t on_chunk_body_impl(uint64_t, Text body, Code&) override;
        void on_finish_impl(Code&) override {}

        Http1Reader& reader_;
    };

    void restart();
    Event read_head(const uint8_t* data, size_t size, size_t& taken);
    Event read_body(const uint8_t* data, size_t size, size_t& taken);
    Event fail(int status, std::string text);
    Event fail_body(const char* why);
    Event refuse_start(std::string_view bytes, const Parser::Code& code);
    Event finish_head();
    std::string_view frame();

    Http1Head head_;
    std::optional<Parser> parser_;
    std::string_view piece_;
    int status_ = 0;
    std::string text_;

    const char* base_ = nullptr;  // the head's first byte, while it is parsed
    size_t size_ = 0;             // of the bytes from there
    size_t blank_ = 0;            // bytes of an empty line in front of it
    size_t parsed_ = 0;
    Place method_;
    Place target_;
    std::vector<std::pair<Place, Place>> places_;
    size_t trailers_ = 0;
    uint64_t chunk_left_ = 0;  // bytes of a chunk that has begun
    bool folded_ = false;
    bool begun_ = false;
    bool head_done_ = false;
};

}  // namespace ovms::net
