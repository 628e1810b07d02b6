// Which model a path of REST asks for a prediction. Every other path is Python's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "../registry.hpp"

namespace ovms::net {

struct PredictRoute {
    ModelKey key;         // its views are of the target, or of what follows
    std::string name;     // where the target has it percent-encoded
    std::string label;
    std::string trouble;  // why no model can be meant
};

// False: the target is no prediction's. target has to stay as long as the route is used.
bool find_predict_route(std::string_view target, PredictRoute& out);

}  // namespace ovms::net
