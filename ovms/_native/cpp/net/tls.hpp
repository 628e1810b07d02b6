// TLS on OpenSSL: a port's certificates, and what happens to the bytes of one connection.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ovms::net {

// What a server shows, and whom it lets in; all in PEM.
struct TlsIdentity {
    std::string certificates;  // the server's own, and those between it and a root
    std::string key;
    std::string client_authorities;  // empty: clients need no certificate
};

// Made once from an identity and never changed: a port with a new one gets a new context, for the connections that follow.
class TlsContext {
public:
    // protocols: what a connection may carry, best first, for ALPN; a client that says none of it may go on without.
    // Null, and why, if the identity cannot be used.
    static std::shared_ptr<const TlsContext> make(const TlsIdentity& identity, std::vector<std::string> protocols, std::string& why);

    SSL_CTX* get() const { return context_.get(); }

private:
    struct Free {
        void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    };

    TlsContext() = default;
    static int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* offered,
                               unsigned int offered_size, void* self);

    std::unique_ptr<SSL_CTX, Free> context_;
    std::vector<std::string> protocols_;
};

// What is wrong with an identity; empty: nothing is.
std::string tls_trouble(const TlsIdentity& identity);

// Until when the first certificate in PEM is valid, in seconds since the epoch; -1: there is none.
int64_t certificate_end(const std::string& certificates);

// One connection's, between the socket's bytes and the session's. Bytes of the socket are read from and written to memory
// of the caller's, so nothing is copied but by the cipher. std::bad_alloc if there is no memory for it.
class TlsChannel {
public:
    explicit TlsChannel(std::shared_ptr<const TlsContext> context);
    TlsChannel(const TlsChannel&) = delete;

    // What came from the client, which has to stay until read returns 0.
    void put(const uint8_t* data, size_t size) { incoming_ = {reinterpret_cast<const char*>(data), size}; }
    // The next bytes of what it said, at most so many; 0: there are no more now. What this has to answer goes to out.
    size_t read(uint8_t* data, size_t size, std::vector<uint8_t>& out);
    // Appends what says these bytes to out. Only when ready.
    void write(const uint8_t* data, size_t size, std::vector<uint8_t>& out);
    // Appends the end of what is said; once.
    void end(std::vector<uint8_t>& out);

    // The handshake is done.
    bool ready() const { return SSL_is_init_finished(ssl_.get()) != 0; }
    // The client has said that nothing follows.
    bool ended() const { return ended_; }
    bool end_said() const { return end_said_; }
    // Nothing can follow; why.
    bool failed() const { return !why_.empty(); }
    const std::string& why() const { return why_; }

private:
    struct Free {
        void operator()(SSL* ssl) const { SSL_free(ssl); }
    };
    friend struct TlsBytes;

    void fail();

    const std::shared_ptr<const TlsContext> context_;
    std::unique_ptr<SSL, Free> ssl_;
    std::string_view incoming_;
    std::vector<uint8_t>* outgoing_ = nullptr;  // while OpenSSL is at work
    bool no_memory_ = false;
    bool ended_ = false;
    bool end_said_ = false;
    std::string why_;
};

}  // namespace ovms::net
