// How many bytes of requests and answers the process holds for its clients, and how many it may.
#pragma once

#include <cstddef>
#include <utility>

namespace ovms::net {

// From here on something is large: what is small is still taken when large things have filled all there is for them.
inline constexpr size_t kLargeBytes = 64 << 10;

// A share of what may be held; none at first, and given back at the end.
class HeldBytes {
public:
    HeldBytes() = default;
    HeldBytes(HeldBytes&& other) noexcept : bytes_(std::exchange(other.bytes_, 0)) {}
    HeldBytes& operator=(HeldBytes&& other) noexcept {
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~HeldBytes() { release(); }

    // Has the share be so many bytes, if it is less. False: the process holds too much, and the share is what it was.
    bool grow(size_t bytes);
    void release();

    // The most that all shares together may be; a quarter more for small ones. Counted per thread and added up now and
    // then: what is held can be some 256 KiB per thread more.
    static void limit_all(size_t bytes);
    static size_t all();

private:
    size_t bytes_ = 0;
};

}  // namespace ovms::net
