// A compiled model version: signature, infer requests, and the count of requests that use it now.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <openvino/runtime/core.hpp>
#include <string>

#include "dynamic_graph.hpp"
#include "infer_pool.hpp"
#include "signature.hpp"
#include "status.hpp"

namespace ovms {

struct LoadOptions {
    std::string device = "CPU";
    std::map<std::string, std::string> config;        // OpenVINO properties, as text
    uint32_t nireq = 0;                                // 0: OpenVINO's optimal number
    std::map<std::string, std::string> input_names;   // model tensor name -> public name
    std::map<std::string, std::string> output_names;
};

class Model {
public:
    const std::string& name() const { return name_; }
    int64_t version() const { return version_; }
    const Signature& signature() const { return signature_; }
    InferPool& pool() { return pool_; }

    // How many requests hold the model. A pin is taken under the registry's lock, so after a model was withdrawn
    // the count only falls. Who reads 0 also sees all that those requests did: unloading may follow.
    uint32_t pins() const { return pins_.load(std::memory_order_acquire); }
    void pin() { pins_.fetch_add(1, std::memory_order_relaxed); }
    void unpin();

    // Waits until no request holds the model; false if timeout passed first.
    bool wait_unused(Deadline deadline);

    // Null for a model of fixed shapes.
    DynamicGraph* dynamic_graph() { return dynamic_graph_.get(); }

    // Frees the compiled model and its infer requests. Call only withdrawn and unused.
    void unload();

private:
    friend Status load_model(ov::Core&, const std::string&, int64_t, const std::string&, const LoadOptions&,
                             std::shared_ptr<Model>&);
    Status build(const ov::Model& read, ov::CompiledModel compiled, const LoadOptions& options);

    std::string name_;
    int64_t version_ = 0;
    Signature signature_;
    ov::CompiledModel compiled_;
    std::unique_ptr<DynamicGraph> dynamic_graph_;
    InferPool pool_;
    std::atomic<uint32_t> pins_{0};
    std::atomic<bool> awaited_{false};  // somebody waits for the last pin
    std::mutex mutex_;
    std::condition_variable unused_;
};

// Reads and compiles the model at path (any format OpenVINO reads) and makes its infer requests. Errors carry
// OpenVINO's own words. Takes from milliseconds to minutes.
Status load_model(ov::Core& core, const std::string& name, int64_t version, const std::string& path,
                  const LoadOptions& options, std::shared_ptr<Model>& out);

// OpenVINO's release and build.
std::string openvino_version_text();

// Keeps a model from being unloaded for as long as it lives.
class ModelPin {
public:
    ModelPin() = default;
    explicit ModelPin(std::shared_ptr<Model> model) : model_(std::move(model)) { model_->pin(); }
    ModelPin(ModelPin&&) = default;
    ModelPin& operator=(ModelPin&& other) noexcept {
        release();
        model_ = std::move(other.model_);
        return *this;
    }
    ~ModelPin() { release(); }

    Model* operator->() const { return model_.get(); }
    Model& operator*() const { return *model_; }

private:
    void release() {
        if (model_ != nullptr) model_->unpin();
        model_.reset();
    }
    std::shared_ptr<Model> model_;
};

}  // namespace ovms
