// (name, version | label) -> published Model.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model.hpp"
#include "status.hpp"

namespace ovms {

// What a request asks for. version 0 without a label: the highest published version.
struct ModelKey {
    std::string_view name;
    int64_t version = 0;
    std::string_view label;
    bool has_label = false;
};

// "Servable not found for request: Specific(name, version)", NOT_FOUND
Status servable_not_found(std::string_view name, int64_t version);

class Registry {
public:
    // ALREADY_EXISTS if that version is published.
    Status publish(std::shared_ptr<Model> model);

    // Puts the model in the place of the one of the same name and version, which requests that have it keep. NOT_FOUND
    // if there is none.
    Status replace(std::shared_ptr<Model> model);

    // After it returns no request gets the model any more; those that have it keep it until they are done.
    Status withdraw(std::string_view name, int64_t version);

    // Replaces the labels of name. A label may name a version before it is published.
    void set_labels(std::string_view name, const std::map<std::string, int64_t>& labels);

    // Pins the model asked for. Readers share the lock; a writer holds it for an insertion in a map, never for a
    // load or an unload, so nobody waits longer than that.
    Status acquire(const ModelKey& key, ModelPin& out) const;

    Status find(const ModelKey& key, std::shared_ptr<Model>& out) const;
    std::vector<int64_t> versions(std::string_view name) const;

private:
    struct Servables {
        std::map<int64_t, std::shared_ptr<Model>> versions;
        std::map<std::string, int64_t, std::less<>> labels;
    };
    struct Hash {
        using is_transparent = void;  // look up by string_view, without making a string
        size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
    };

    Status locate(const ModelKey& key, const std::shared_ptr<Model>*& out) const;

    mutable std::shared_mutex mutex_;
    std::unordered_map<std::string, Servables, Hash, std::equal_to<>> table_;
};

}  // namespace ovms
