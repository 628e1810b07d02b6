// The least that a gRPC server can cost: one thread of epoll and nghttp2 that runs one model where it read the request.
//
// Usage: prototype --model_path MODEL.xml --port PORT [KEY=VALUE ...]; the rest are OpenVINO properties for the CPU.
//
// It serves Predict of a model with one f32 input and one f32 output of fixed shapes, and has no generality: it looks in
// the request for tensor_content of the right size and for nothing else. Within that it does the usual things well:
// answers of all calls that one read brought leave in one write; a large request's values land where OpenVINO can read
// them, a large answer's leave from where OpenVINO put them; memory is kept.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "prototype_model.hpp"

namespace {

constexpr std::string_view PREDICT = "/tensorflow.serving.PredictionService/Predict";
constexpr size_t READ_SIZE = 256 * 1024;
constexpr size_t OUTPUT_SIZE = 256 * 1024;
constexpr size_t LARGEST_CHUNK = 16 * 1024 + 64;  // what nghttp2 hands over at once: a frame
constexpr size_t MOST_PIECES = 1000;              // of one write; the system's limit is 1024
constexpr int WINDOW = (1 << 30) - 1;

struct Stream {
    explicit Stream(const Model& model) : request(model.request_buffer()), answer(model.answer_buffer()) {}

    Buffer request, answer;
    size_t start = 0;     // of the request in its buffer
    size_t received = 0;  // bytes of it
    size_t sent = 0;      // of the answer's buffer, up to here
    bool known = false;   // the path
    size_t number = 0;    // among its connection's open streams
};

class Server;

class Connection {
  public:
    Connection(Server& server, int socket);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // False when the connection is over.
    bool on_event(uint32_t events);

  private:
    friend class Server;

    bool receive();
    bool write();
    void collect();
    bool full() const { return output_.size() - output_used_ < LARGEST_CHUNK || pieces_.size() >= MOST_PIECES; }
    void append(const uint8_t* data, size_t size);
    void answer(int32_t id, Stream& stream);
    void refuse(int32_t id, Code code);

    static Stream* stream_of(nghttp2_session* session, int32_t id) {
        return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id));
    }
    static int on_begin_headers(nghttp2_session*, const nghttp2_frame*, void*);
    static int on_header(nghttp2_session*, const nghttp2_frame*, const uint8_t*, size_t, const uint8_t*, size_t,
                         uint8_t, void*);
    static int on_data(nghttp2_session*, uint8_t, int32_t, const uint8_t*, size_t, void*);
    static int on_frame(nghttp2_session*, const nghttp2_frame*, void*);
    static int on_close(nghttp2_session*, int32_t, uint32_t, void*);
    static ssize_t on_read(nghttp2_session*, int32_t, uint8_t*, size_t, uint32_t*, nghttp2_data_source*, void*);
    static int on_send(nghttp2_session*, nghttp2_frame*, const uint8_t*, size_t, nghttp2_data_source*, void*);

    Server& server_;
    int socket_;
    nghttp2_session* session_ = nullptr;
    bool blocked_ = false;                      // the socket takes no more
    std::vector<iovec> pieces_;                 // to be written
    size_t written_ = 0;                        // of the pieces
    std::array<uint8_t, OUTPUT_SIZE> output_;   // what is not an answer's values
    size_t output_used_ = 0;
    std::vector<Stream*> open_;                 // streams that nghttp2 knows
    std::vector<Stream*> closed_;               // streams whose answers may still be among the pieces
};

class Server {
  public:
    Server(Model& model, int port) : model(model), epoll_(epoll_create1(0)) {
        listening_ = socket(AF_INET, SOCK_STREAM, 0);
        const int on = 1;
        setsockopt(listening_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(static_cast<uint16_t>(port));
        if (bind(listening_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listening_, 512) != 0)
            give_up("the port is taken");
        watch(EPOLL_CTL_ADD, listening_, EPOLLIN, nullptr);

        nghttp2_session_callbacks_new(&callbacks);
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Connection::on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, Connection::on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Connection::on_data);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Connection::on_frame);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Connection::on_close);
        nghttp2_session_callbacks_set_send_data_callback(callbacks, Connection::on_send);
        nghttp2_option_new(&option);
        nghttp2_option_set_no_closed_streams(option, 1);
    }

    [[noreturn]] void run() {
        std::array<epoll_event, 64> events;
        while (true) {
            const int count = epoll_wait(epoll_, events.data(), events.size(), -1);
            for (int i = 0; i < count; ++i) {
                auto* connection = static_cast<Connection*>(events[i].data.ptr);
                if (connection == nullptr) accept();
                else if (!connection->on_event(events[i].events)) delete connection;
            }
        }
    }

    void watch(int operation, int socket, uint32_t events, Connection* connection) {
        epoll_event event{};
        event.events = events;
        event.data.ptr = connection;
        epoll_ctl(epoll_, operation, socket, &event);
    }

    Stream* take() {
        if (free_.empty()) return new Stream(model);
        Stream* stream = free_.back();
        free_.pop_back();
        return stream;
    }
    void give_back(Stream* stream) { free_.push_back(stream); }

    Model& model;
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_option* option = nullptr;
    std::array<uint8_t, READ_SIZE> input;

  private:
    void accept() {
        const int socket = accept4(listening_, nullptr, nullptr, SOCK_NONBLOCK);
        if (socket < 0) return;
        const int on = 1;
        setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        auto* connection = new Connection(*this, socket);
        watch(EPOLL_CTL_ADD, socket, EPOLLIN, connection);
    }

    int epoll_, listening_;
    std::vector<Stream*> free_;
};

Connection::Connection(Server& server, int socket) : server_(server), socket_(socket) {
    nghttp2_session_server_new2(&session_, server.callbacks, this, server.option);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1024},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
    nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, WINDOW);
    pieces_.reserve(MOST_PIECES + 2);
}

Connection::~Connection() {
    nghttp2_session_del(session_);  // without a word about the streams that were open
    for (const auto* streams : {&open_, &closed_})
        for (Stream* stream : *streams) server_.give_back(stream);
    close(socket_);
}

bool Connection::on_event(uint32_t events) {
    if ((events & EPOLLOUT) != 0) {
        blocked_ = false;
        server_.watch(EPOLL_CTL_MOD, socket_, EPOLLIN, this);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !receive()) return false;
    if (!blocked_ && !write()) return false;
    return nghttp2_session_want_read(session_) || nghttp2_session_want_write(session_) || !pieces_.empty();
}

bool Connection::receive() {
    const ssize_t size = recv(socket_, server_.input.data(), server_.input.size(), 0);
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    if (size == 0) return false;
    return nghttp2_session_mem_recv(session_, server_.input.data(), static_cast<size_t>(size)) >= 0;
}

bool Connection::write() {
    while (true) {
        if (pieces_.empty()) {
            collect();
            if (pieces_.empty()) return true;
        }
        msghdr message{};
        message.msg_iov = pieces_.data() + written_;
        message.msg_iovlen = pieces_.size() - written_;
        const ssize_t sent = sendmsg(socket_, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
        auto left = static_cast<size_t>(std::max<ssize_t>(sent, 0));
        while (written_ < pieces_.size() && left >= pieces_[written_].iov_len) left -= pieces_[written_++].iov_len;
        if (written_ < pieces_.size()) {
            pieces_[written_].iov_base = static_cast<uint8_t*>(pieces_[written_].iov_base) + left;
            pieces_[written_].iov_len -= left;
            if (sent >= 0 || errno == EINTR) continue;
            blocked_ = true;
            server_.watch(EPOLL_CTL_MOD, socket_, EPOLLIN | EPOLLOUT, this);
            return true;
        }
        pieces_.clear();
        written_ = output_used_ = 0;
        for (Stream* stream : closed_) server_.give_back(stream);
        closed_.clear();
    }
}

// Frames up to one write's worth.
void Connection::collect() {
    while (!full()) {
        const uint8_t* data = nullptr;
        const ssize_t size = nghttp2_session_mem_send(session_, &data);
        if (size <= 0) break;
        append(data, static_cast<size_t>(size));
    }
}

void Connection::append(const uint8_t* data, size_t size) {
    uint8_t* target = output_.data() + output_used_;
    std::memcpy(target, data, size);
    output_used_ += size;
    if (!pieces_.empty() && static_cast<uint8_t*>(pieces_.back().iov_base) + pieces_.back().iov_len == target)
        pieces_.back().iov_len += size;
    else pieces_.push_back({target, size});
}

int Connection::on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* data) {
    auto* self = static_cast<Connection*>(data);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    Stream* stream = self->server_.take();
    stream->start = self->server_.model.request_start();
    stream->received = 0;
    stream->sent = self->server_.model.answer_start();
    stream->known = false;
    stream->number = self->open_.size();
    self->open_.push_back(stream);
    return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream);
}

int Connection::on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                          const uint8_t* value, size_t size, uint8_t, void*) {
    if (name_size != 5 || std::memcmp(name, ":path", 5) != 0) return 0;
    if (Stream* stream = stream_of(session, frame->hd.stream_id))
        stream->known = std::string_view(reinterpret_cast<const char*>(value), size) == PREDICT;
    return 0;
}

int Connection::on_data(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size, void*) {
    Stream* stream = stream_of(session, id);
    if (stream == nullptr) return 0;
    if (size > stream->request.size - stream->start - stream->received)
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_ENHANCE_YOUR_CALM);
    std::memcpy(stream->request.bytes + stream->start + stream->received, data, size);
    stream->received += size;
    return 0;
}

int Connection::on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* data) {
    const bool ends = (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
                      (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (!ends) return 0;
    if (Stream* stream = stream_of(session, frame->hd.stream_id))
        static_cast<Connection*>(data)->answer(frame->hd.stream_id, *stream);
    return 0;
}

int Connection::on_close(nghttp2_session* session, int32_t id, uint32_t, void* data) {
    auto* self = static_cast<Connection*>(data);
    Stream* stream = stream_of(session, id);
    if (stream == nullptr) return 0;
    self->open_[stream->number] = self->open_.back();
    self->open_[stream->number]->number = stream->number;
    self->open_.pop_back();
    self->closed_.push_back(stream);
    return 0;
}

nghttp2_nv header(std::string_view name, std::string_view value) {
    const auto bytes = [](std::string_view text) {
        return const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(text.data()));
    };
    const uint8_t flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
    return {bytes(name), bytes(value), name.size(), value.size(), flags};
}

void Connection::answer(int32_t id, Stream& stream) {
    if (!stream.known) return refuse(id, UNIMPLEMENTED);
    const Code code = server_.model.predict(stream.request, stream.start, stream.received, stream.answer);
    if (code != OK) return refuse(id, code);
    static const nghttp2_nv headers[] = {header(":status", "200"), header("content-type", "application/grpc")};
    nghttp2_data_provider provider{};
    provider.source.ptr = &stream;
    provider.read_callback = on_read;
    nghttp2_submit_response(session_, id, headers, std::size(headers), &provider);
}

void Connection::refuse(int32_t id, Code code) {
    const std::string number = std::to_string(code);
    const nghttp2_nv status = {reinterpret_cast<uint8_t*>(const_cast<char*>("grpc-status")),
                               reinterpret_cast<uint8_t*>(const_cast<char*>(number.data())), 11, number.size(),
                               NGHTTP2_NV_FLAG_NO_COPY_NAME};
    const nghttp2_nv headers[] = {header(":status", "200"), header("content-type", "application/grpc"), status};
    nghttp2_submit_response(session_, id, headers, std::size(headers), nullptr);
}

ssize_t Connection::on_read(nghttp2_session* session, int32_t id, uint8_t* target, size_t most, uint32_t* flags,
                            nghttp2_data_source* source, void*) {
    auto& stream = *static_cast<Stream*>(source->ptr);
    const size_t left = stream.answer.size - stream.sent;
    const size_t size = std::min(most, left);
    if (size == left) {
        static const nghttp2_nv trailers[] = {header("grpc-status", "0")};
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (const int error = nghttp2_submit_trailer(session, id, trailers, std::size(trailers))) return error;
    }
    if (stream.answer.size >= IN_PLACE) {
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    } else {
        std::memcpy(target, stream.answer.bytes + stream.sent, size);
        stream.sent += size;
    }
    return static_cast<ssize_t>(size);
}

int Connection::on_send(nghttp2_session*, nghttp2_frame*, const uint8_t* head, size_t size, nghttp2_data_source* source,
                        void* data) {
    auto& self = *static_cast<Connection*>(data);
    auto& stream = *static_cast<Stream*>(source->ptr);
    if (self.full()) return NGHTTP2_ERR_WOULDBLOCK;  // nghttp2 would go on with this answer to its end
    self.append(head, 9);
    self.pieces_.push_back({stream.answer.bytes + stream.sent, size});
    stream.sent += size;
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    std::string path;
    int port = 0;
    ov::AnyMap config;
    for (int i = 1; i < argc; ++i) {
        const std::string option = argv[i];
        if (option == "--model_path" && i + 1 < argc) path = argv[++i];
        else if (option == "--port" && i + 1 < argc) port = std::atoi(argv[++i]);
        else if (const size_t equals = option.find('='); equals != std::string::npos)
            config[option.substr(0, equals)] = option.substr(equals + 1);
        else give_up("unknown option " + option);
    }
    if (path.empty() || port <= 0) give_up("needs --model_path and --port");
    Model model(path, config);
    static Server server(model, port);
    server.run();
}
