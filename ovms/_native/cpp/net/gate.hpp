// Who is let in: asked once the headers of a request are there, before its body is taken. ovms/access/gate.py has the same
// rules for the engines in Python.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "keys.hpp"
#include "rate.hpp"
#include "refusals.hpp"

namespace ovms::net {

class CallPort;
class Connection;

// What a connection is known by.
struct Visitor {
    LastKey last_key;
    std::optional<uint64_t> place;  // of its address among the rates
};

// What a request's headers bring.
struct Presented {
    const ApiKey* key = nullptr;  // until another request of the connection brings one
    uint8_t count = 0;            // of keys; more than one is a wrong one
    // A browser's password counts where nothing is changed or computed: the browser sends it on behalf of strangers' pages,
    // too. It stands back for a key of another header, which the page in the browser has chosen.
    bool takes_password = false;
    bool has_password = false;
};

struct GateSettings {
    bool keys = false;               // a key is needed
    double requests_per_second = 0;  // of each key, or without keys of each address; 0: any number
};

class Gate {
public:
    explicit Gate(const GateSettings& settings);

    // Looks at a header, whose name may be in capitals.
    void on_header(Presented& presented, Connection& connection, std::string_view name, std::string_view value) const;
    // Whether a call of this scope may go on. If not it is counted, and told to the log now and then.
    Refused judge(const Presented& presented, CallPort& port, Connection& connection, Scope scope);

    // What the client is told; code: google.rpc.Code's number.
    struct Answer {
        int code;
        int http;
        std::string_view text;
    };
    Answer answer(Refused why) const;

private:
    void on_password(Presented& presented, Connection& connection, std::string_view credentials) const;
    Refused decide(const Presented& presented, Connection& connection, Scope scope);

    const bool keys_;
    const Rate rate_;
    AddressRates addresses_;
    const std::string too_often_;
};

}  // namespace ovms::net
