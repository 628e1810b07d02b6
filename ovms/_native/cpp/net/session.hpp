// What the bytes of a connection mean: one object of a protocol per connection.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ovms::net {

class Session {
public:
    virtual ~Session() = default;

    // All of it is taken. The bytes are gone afterwards.
    virtual void on_bytes(const uint8_t* data, size_t size) = 0;
    // The client sends no more.
    virtual void on_end() = 0;
    // The connection is closed: calls under way have lost their client.
    virtual void on_close() = 0;
    // There is room again: adds what is to be sent to the connection, some hundred kilobytes at a time.
    virtual void fill() = 0;
    // How many bytes are sure to come of the message that came last, whatever is answered meanwhile. 0: nobody knows.
    virtual size_t awaited() const { return 0; }
    // Whether a call is under way.
    virtual bool busy() const = 0;
    // Whether the client has got any answer so far.
    virtual bool answered_any() const { return true; }
    // The port takes no more calls; whoever uses this connection has to hear of it.
    virtual void drain() = 0;
    // Once a second; milliseconds: how long the client has said nothing.
    virtual void tick(uint64_t milliseconds) = 0;
};

}  // namespace ovms::net
