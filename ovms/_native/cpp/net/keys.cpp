#include "keys.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <new>
#include <unordered_map>
#include <utility>

namespace ovms::net {
namespace {

// Getting the algorithm and a context takes longer than hashing a key: a thread does it once.
class Sha256 {
public:
    Sha256() : context_(EVP_MD_CTX_new()) {
        if (context_ == nullptr) throw std::bad_alloc();
    }
    ~Sha256() { EVP_MD_CTX_free(context_); }
    Sha256(const Sha256&) = delete;
    Sha256& operator=(const Sha256&) = delete;

    bool operator()(std::string_view text, KeyDigest& out) {
        static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
        return algorithm != nullptr && EVP_DigestInit_ex2(context_, algorithm, nullptr) == 1 &&
               EVP_DigestUpdate(context_, text.data(), text.size()) == 1 && EVP_DigestFinal_ex(context_, out.data(), nullptr) == 1;
    }

private:
    EVP_MD_CTX* const context_;
};

}  // namespace

KeySet::KeySet(std::vector<ApiKey> keys, const KeySet* before) : keys_(std::move(keys)) {
    std::unordered_map<std::string_view, std::shared_ptr<Due>> known;
    if (before != nullptr)
        for (const ApiKey& old : before->keys_) known.emplace(old.name, old.due);
    for (ApiKey& key : keys_) {
        const auto found = known.find(key.name);
        key.due = found != known.end() ? found->second : std::make_shared<Due>(0);
    }
    std::sort(keys_.begin(), keys_.end(), [](const ApiKey& a, const ApiKey& b) { return a.digest < b.digest; });
}

// The search compares digests byte by byte, and how long it takes tells something of one that is stored. Nobody can make a
// key of that, as a key with a wanted digest cannot be found. The last word is a comparison that takes the same time always.
const ApiKey* KeySet::find(std::string_view presented) const {
    thread_local Sha256 sha256;
    KeyDigest digest;
    if (presented.empty() || presented.size() > kLongest || !sha256(presented, digest)) return nullptr;
    const auto found = std::lower_bound(keys_.begin(), keys_.end(), digest, [](const ApiKey& key, const KeyDigest& wanted) { return key.digest < wanted; });
    if (found == keys_.end() || CRYPTO_memcmp(found->digest.data(), digest.data(), digest.size()) != 0) return nullptr;
    return &*found;
}

const ApiKey* LastKey::find(const std::shared_ptr<const KeySet>& keys, std::string_view presented) {
    if (keys == nullptr) return nullptr;
    if (key_ != nullptr && keys_ == keys && presented.size() == text_.size() &&
        CRYPTO_memcmp(presented.data(), text_.data(), text_.size()) == 0)
        return key_;
    const ApiKey* const found = keys->find(presented);
    if (found == nullptr) return nullptr;
    forget();
    text_ = presented;
    keys_ = keys;
    key_ = found;
    return key_;
}

void LastKey::forget() {
    OPENSSL_cleanse(text_.data(), text_.size());
    key_ = nullptr;
}

LastKey::~LastKey() { forget(); }

}  // namespace ovms::net
