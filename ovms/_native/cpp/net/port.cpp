#include "port.hpp"

#include <utility>

namespace ovms::net {
namespace {

constexpr auto kTellAgain = std::chrono::seconds(1);

}  // namespace

void Port::set_tls(std::shared_ptr<const TlsContext> tls) {
    const std::lock_guard lock(mutex_);
    tls_.swap(tls);  // the last one may go with this, after the lock
}

std::shared_ptr<const TlsContext> Port::tls() {
    const std::lock_guard lock(mutex_);
    return tls_;
}

void Port::tls_failed(const std::string& peer, const std::string& why) {
    std::string text;
    {
        const std::lock_guard lock(mutex_);
        ++all_failed_;
        const auto now = std::chrono::steady_clock::now();
        if (told_.time_since_epoch().count() != 0 && now - told_ < kTellAgain) {
            ++failed_;
            return;
        }
        told_ = now;
        text = "TLS: no connection with " + peer + ": " + why;
        if (failed_ != 0) text += "; and " + std::to_string(failed_) + " others before";
        failed_ = 0;
    }
    if (on_trouble) on_trouble(std::move(text));
}

uint64_t Port::tls_failures() {
    const std::lock_guard lock(mutex_);
    return all_failed_;
}

}  // namespace ovms::net
