#include "tls.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <new>

namespace ovms::net {
namespace {

// TLS 1.2 with what 1.3 has, too: keys of one connection only, and no cipher but those that check what they decrypt.
constexpr const char* kCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr unsigned char kSessions[] = "ovms";

template <auto Function>
struct Freed {
    template <class T>
    void operator()(T* object) const {
        Function(object);
    }
};
using Bio = std::unique_ptr<BIO, Freed<BIO_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;

Bio reader(const std::string& text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

// What OpenSSL says is wrong, and forgets.
std::string reason() {
    const unsigned long error = ERR_peek_last_error();
    ERR_clear_error();
    const char* const text = error == 0 ? nullptr : ERR_reason_error_string(error);
    return text == nullptr ? "OpenSSL gives no reason" : text;
}

Certificate next_certificate(BIO* bio) { return Certificate(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr)); }

std::string use_certificates(SSL_CTX* context, const std::string& text) {
    const Bio bio = reader(text);
    const Certificate own = next_certificate(bio.get());
    if (own == nullptr) return "no certificate in PEM: " + reason();
    if (SSL_CTX_use_certificate(context, own.get()) != 1) return "the certificate cannot be used: " + reason();
    while (Certificate between = next_certificate(bio.get())) {
        if (SSL_CTX_add0_chain_cert(context, between.get()) != 1) return "the chain of certificates cannot be used: " + reason();
        static_cast<void>(between.release());  // the context's now
    }
    ERR_clear_error();  // the end of the text
    return {};
}

std::string use_key(SSL_CTX* context, const std::string& text) {
    const Bio bio = reader(text);
    const auto no_password = [](char*, int, int, void*) { return -1; };
    const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
    if (key == nullptr) return "no private key in PEM, or one with a password: " + reason();
    if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1)
        return "the private key is not that of the certificate: " + reason();
    return {};
}

std::string ask_for_certificates(SSL_CTX* context, const std::string& text) {
    const Bio bio = reader(text);
    size_t count = 0;
    for (; Certificate root = next_certificate(bio.get()); ++count)
        if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), root.get()) != 1 || SSL_CTX_add_client_CA(context, root.get()) != 1)
            return "a certificate of the clients' authorities cannot be used: " + reason();
    ERR_clear_error();
    if (count == 0) return "no certificate of the clients' authorities in PEM";
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    return {};
}

}  // namespace

std::shared_ptr<const TlsContext> TlsContext::make(const TlsIdentity& identity, std::vector<std::string> protocols, std::string& why) {
    std::shared_ptr<TlsContext> made(new TlsContext);
    made->protocols_ = std::move(protocols);
    made->context_.reset(SSL_CTX_new(TLS_server_method()));
    SSL_CTX* const context = made->get();
    if (context == nullptr) throw std::bad_alloc();
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);  // 34 kB less for a connection that says nothing
    SSL_CTX_set_cipher_list(context, kCiphers);
    // Clients come back by tickets, whose keys are the context's: none outlives a certificate.
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(context, kSessions, sizeof kSessions - 1);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, made.get());
    ERR_clear_error();
    why = use_certificates(context, identity.certificates);
    if (why.empty()) why = use_key(context, identity.key);
    if (why.empty() && !identity.client_authorities.empty()) why = ask_for_certificates(context, identity.client_authorities);
    return why.empty() ? made : nullptr;
}

std::string tls_trouble(const TlsIdentity& identity) {
    std::string why;
    TlsContext::make(identity, {}, why);
    return why;
}

int64_t certificate_end(const std::string& certificates) {
    const Bio bio = reader(certificates);
    const Certificate own = next_certificate(bio.get());
    ERR_clear_error();
    std::tm end{};
    if (own == nullptr || ASN1_TIME_to_tm(X509_get0_notAfter(own.get()), &end) != 1) return -1;
    return static_cast<int64_t>(timegm(&end));
}

int TlsContext::choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* offered,
                                unsigned int offered_size, void* self) {
    for (const std::string& protocol : static_cast<TlsContext*>(self)->protocols_)
        for (unsigned int i = 0; i < offered_size; i += offered[i] + 1u) {
            const std::string_view one(reinterpret_cast<const char*>(offered + i + 1), offered[i]);
            if (one != protocol) continue;
            *out = offered + i + 1;
            *out_size = offered[i];
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

// OpenSSL's view of the socket. No exception may pass through it.
struct TlsBytes {
    static TlsChannel& channel(BIO* bio) { return *static_cast<TlsChannel*>(BIO_get_data(bio)); }

    static int read(BIO* bio, char* data, size_t size, size_t* got) {
        BIO_clear_retry_flags(bio);
        std::string_view& incoming = channel(bio).incoming_;
        *got = std::min(size, incoming.size());
        if (*got == 0) {
            BIO_set_retry_read(bio);
            return 0;
        }
        std::memcpy(data, incoming.data(), *got);
        incoming.remove_prefix(*got);
        return 1;
    }

    static int write(BIO* bio, const char* data, size_t size, size_t* put) {
        BIO_clear_retry_flags(bio);
        TlsChannel& self = channel(bio);
        try {
            self.outgoing_->insert(self.outgoing_->end(), data, data + size);
        } catch (const std::bad_alloc&) {
            self.no_memory_ = true;
            return 0;
        }
        *put = size;
        return 1;
    }

    static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

    static const BIO_METHOD* method() {
        static const BIO_METHOD* const made = [] {
            BIO_METHOD* const method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "bytes");
            BIO_meth_set_read_ex(method, read);
            BIO_meth_set_write_ex(method, write);
            BIO_meth_set_ctrl(method, control);
            return method;
        }();
        return made;
    }
};

TlsChannel::TlsChannel(std::shared_ptr<const TlsContext> context) : context_(std::move(context)), ssl_(SSL_new(context_->get())) {
    BIO* const bio = ssl_ == nullptr ? nullptr : BIO_new(TlsBytes::method());
    if (bio == nullptr) throw std::bad_alloc();
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_.get(), bio, bio);
    SSL_set_accept_state(ssl_.get());
}

size_t TlsChannel::read(uint8_t* data, size_t size, std::vector<uint8_t>& out) {
    if (failed() || ended_) return 0;
    outgoing_ = &out;
    ERR_clear_error();
    size_t all = 0;
    while (all < size) {
        size_t got = 0;
        const int result = SSL_read_ex(ssl_.get(), data + all, size - all, &got);
        all += got;
        if (no_memory_) throw std::bad_alloc();
        if (result == 1) continue;
        const int error = SSL_get_error(ssl_.get(), result);
        if (error == SSL_ERROR_ZERO_RETURN) ended_ = true;
        else if (error != SSL_ERROR_WANT_READ) fail();
        break;
    }
    return all;
}

void TlsChannel::write(const uint8_t* data, size_t size, std::vector<uint8_t>& out) {
    if (failed()) return;
    outgoing_ = &out;
    ERR_clear_error();
    size_t put = 0;
    const int result = SSL_write_ex(ssl_.get(), data, size, &put);
    if (no_memory_) throw std::bad_alloc();
    if (result != 1) fail();
}

void TlsChannel::end(std::vector<uint8_t>& out) {
    end_said_ = true;
    if (failed() || !ready()) return;
    outgoing_ = &out;
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    if (no_memory_) throw std::bad_alloc();
}

void TlsChannel::fail() {
    const long verified = SSL_get_verify_result(ssl_.get());
    const std::string said = reason();
    why_ = verified == X509_V_OK ? said : said + ": " + X509_verify_cert_error_string(verified);
}

}  // namespace ovms::net
