// While a large message arrives: how many bytes have to be there before the system wakes the I/O thread for them.
#pragma once

#include <cstddef>

namespace ovms::net {

// The mark of one TCP socket (SO_RCVLOWAT). A sender on a fast network brings a message in pieces of some 50 KB; to be woken
// for each costs more than to copy it. The mark never asks for more than is sure to come of the message, and is for senders
// of large pieces only; if they pause, whoever owns this takes it down.
class LowWater {
public:
    // After a read of size bytes: how many more are sure to come without anything being sent.
    void after_read(int socket, size_t size, size_t awaited);
    void take_down(int socket) { set(socket, 1); }
    bool up() const { return mark_ > 1; }

private:
    void set(int socket, size_t mark);

    size_t mark_ = 1;
};

}  // namespace ovms::net
