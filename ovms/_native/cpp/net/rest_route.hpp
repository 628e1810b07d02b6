// Which model a path of REST asks for a prediction. Every other path is Python's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "../registry.hpp"
#include "keys.hpp"

namespace ovms::net {

struct PredictRoute {
    ModelKey key;         // its views are of the target, or of what follows
    std::string name;     // where the target has it percent-encoded
    std::string label;
    std::string trouble;  // why no model can be meant
};

// False: the target is no prediction's. target has to stay as long as the route is used.
bool find_predict_route(std::string_view target, PredictRoute& out);

// What a key has to allow for a request of this target. The pages of health and the status page, which holds no data, need none.
Scope scope_of(std::string_view target);

}  // namespace ovms::net
