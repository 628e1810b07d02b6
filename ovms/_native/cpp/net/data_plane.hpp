// What a front end calls of the data plane. A table of functions, because front ends are a library of their own: where
// theirs are missing, the data plane still works.
#pragma once

#include "../predict.hpp"
#include "../tfs_json_codec.hpp"
#include "../tfs_proto_codec.hpp"

namespace ovms::net {

struct DataPlane {
    const Registry* registry = nullptr;
    Status (*predict_tfs_proto)(const Registry&, const uint8_t*, size_t, const PredictOptions&, const Caller&, const ByteSink&,
                                Trace*) = nullptr;
    Status (*predict_tfs_json)(const Registry&, const ModelKey&, const uint8_t*, size_t, const Caller&, const ByteSink&,
                               Trace*) = nullptr;
};

// For the library that has these functions.
inline DataPlane make_data_plane(const Registry& registry) { return {&registry, &ovms::predict_tfs_proto, &ovms::predict_tfs_json}; }

}  // namespace ovms::net
