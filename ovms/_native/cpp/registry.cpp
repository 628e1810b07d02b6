#include "registry.hpp"

#include <mutex>
#include <utility>

#include "utf8.hpp"

namespace ovms {

Status servable_not_found(std::string_view name, int64_t version) {
    return {Code::kNotFound, "Servable not found for request: Specific(" + std::string(cut_utf8(name, 200)) + ", " +
                                 std::to_string(version) + ")"};
}

Status Registry::publish(std::shared_ptr<Model> model) {
    const std::unique_lock lock(mutex_);
    const auto [place, inserted] = table_[model->name()].versions.try_emplace(model->version(), model);
    if (inserted) return {};
    return {Code::kAlreadyExists,
            "version " + std::to_string(model->version()) + " of " + quote_name(model->name()) + " is published already"};
}

Status Registry::replace(std::shared_ptr<Model> model) {
    std::shared_ptr<Model> keep;  // freed after the lock, should this be the last owner
    const std::unique_lock lock(mutex_);
    const auto servables = table_.find(model->name());
    if (servables == table_.end()) return servable_not_found(model->name(), model->version());
    const auto found = servables->second.versions.find(model->version());
    if (found == servables->second.versions.end()) return servable_not_found(model->name(), model->version());
    keep = std::exchange(found->second, std::move(model));
    return {};
}

Status Registry::withdraw(std::string_view name, int64_t version) {
    std::shared_ptr<Model> keep;  // freed after the lock, should this be the last owner
    const std::unique_lock lock(mutex_);
    const auto servables = table_.find(name);
    if (servables == table_.end()) return servable_not_found(name, version);
    const auto found = servables->second.versions.find(version);
    if (found == servables->second.versions.end()) return servable_not_found(name, version);
    keep = std::move(found->second);
    servables->second.versions.erase(found);
    if (servables->second.versions.empty() && servables->second.labels.empty()) table_.erase(servables);
    return {};
}

void Registry::set_labels(std::string_view name, const std::map<std::string, int64_t>& labels) {
    const std::unique_lock lock(mutex_);
    Servables& servables = table_[std::string(name)];
    servables.labels = {labels.begin(), labels.end()};
    if (servables.labels.empty() && servables.versions.empty()) table_.erase(table_.find(name));
}

Status Registry::locate(const ModelKey& key, const std::shared_ptr<Model>*& out) const {
    const auto found = table_.find(key.name);
    if (found == table_.end() || found->second.versions.empty()) return servable_not_found(key.name, key.version);
    const Servables& servables = found->second;
    int64_t version = key.version;
    if (key.has_label) {
        const auto label = servables.labels.find(key.label);
        if (label == servables.labels.end())
            return invalid_argument("Unrecognized servable version label: " + std::string(cut_utf8(key.label, 200)));
        version = label->second;
    }
    const auto model = version == 0 ? std::prev(servables.versions.end()) : servables.versions.find(version);
    if (model == servables.versions.end()) return servable_not_found(key.name, version);
    out = &model->second;
    return {};
}

Status Registry::acquire(const ModelKey& key, ModelPin& out) const {
    const std::shared_lock lock(mutex_);
    const std::shared_ptr<Model>* model = nullptr;
    Status status = locate(key, model);
    if (status.ok()) out = ModelPin(*model);
    return status;
}

Status Registry::find(const ModelKey& key, std::shared_ptr<Model>& out) const {
    const std::shared_lock lock(mutex_);
    const std::shared_ptr<Model>* model = nullptr;
    Status status = locate(key, model);
    if (status.ok()) out = *model;
    return status;
}

std::vector<int64_t> Registry::versions(std::string_view name) const {
    const std::shared_lock lock(mutex_);
    std::vector<int64_t> out;
    if (const auto found = table_.find(name); found != table_.end())
        for (const auto& [version, model] : found->second.versions) out.push_back(version);
    return out;
}

}  // namespace ovms
