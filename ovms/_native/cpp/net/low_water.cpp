#include "low_water.hpp"

#include <sys/socket.h>

#include <algorithm>

namespace ovms::net {
namespace {

constexpr size_t kMost = 256 << 10;  // what one read takes
constexpr size_t kLeast = 32 << 10;  // below that a piece is not worth the system call
constexpr size_t kLargePiece = 16 << 10;

}  // namespace

void LowWater::after_read(int socket, size_t size, size_t awaited) {
    const size_t wanted = size < kLargePiece || awaited < kLeast ? 1 : std::min(awaited, kMost);
    // As it is, if it is nearly right: a system call for each read would cost what is to be saved. Nor does the small rest
    // that is read behind a large piece take it down.
    if (wanted == mark_ || (mark_ > 1 && mark_ <= awaited && mark_ >= wanted / 2)) return;
    set(socket, wanted);
}

void LowWater::set(int socket, size_t mark) {
    const int value = static_cast<int>(mark);
    if (mark != mark_ && ::setsockopt(socket, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value) == 0) mark_ = mark;
}

}  // namespace ovms::net
