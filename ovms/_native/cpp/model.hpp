// A compiled model version: signature, infer requests, and the count of requests that use it now.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <openvino/runtime/compiled_model.hpp>
#include <string>

#include "dynamic_graph.hpp"
#include "infer_pool.hpp"
#include "shape_cache.hpp"
#include "shape_check.hpp"
#include "signature.hpp"

namespace ovms {

class Model {
public:
    const std::string& name() const { return name_; }
    int64_t version() const { return version_; }
    // No other model of this process has, or had, the same. Not 0.
    uint64_t id() const { return id_; }
    const Signature& signature() const { return signature_; }
    InferPool& pool() { return pool_; }

    // How many requests hold the model. A pin is taken under the registry's lock, so after a model was withdrawn
    // the count only falls. Who reads 0 also sees all that those requests did: unloading may follow.
    uint32_t pins() const { return pins_.load(std::memory_order_acquire); }
    void pin() { pins_.fetch_add(1, std::memory_order_relaxed); }
    void unpin() {
        // The last one out wakes whoever waits. The lock orders this with the waiter's own look at the count.
        if (pins_.fetch_sub(1, std::memory_order_seq_cst) == 1 && awaited_.load(std::memory_order_seq_cst)) {
            const std::lock_guard lock(mutex_);
            unused_.notify_all();
        }
    }

    // Waits until no request holds the model; false if timeout passed first.
    bool wait_unused(Deadline deadline);

    // Null for a model of fixed shapes, and for one that is compiled apart for each shape.
    DynamicGraph* dynamic_graph() { return dynamic_graph_.get(); }
    // Null for a model of fixed shapes.
    ShapeCheck* shape_check() { return shape_check_.get(); }
    // Null unless the model is compiled apart for each shape; then pool() is empty.
    ShapeCache* shape_cache() { return shape_cache_.get(); }

    uint32_t nireq() const { return nireq_; }
    // How often the model was compiled so far.
    uint32_t compilations() const { return compilations_.load(std::memory_order_relaxed); }
    // Whether it is compiled apart for each shape, and how many requests found theirs compiled.
    bool compiles_shapes() const { return compiles_shapes_; }
    uint64_t shape_hits() const { return shape_hits_.load(std::memory_order_relaxed); }
    // OpenVINO's streams, that is how many inferences really run at once; 0 if the device does not say.
    uint32_t streams() const { return streams_; }
    // Whether it was loaded with what options say for small models.
    bool small() const { return small_; }

    // For a warm-up: leases go round the infer requests, so that each gets its share.
    void take_turns(bool on);

    // Frees the compiled model and its infer requests. Call only withdrawn and unused.
    void unload();

private:
    friend class ModelBuilder;
    static uint64_t next_id();

    std::string name_;
    int64_t version_ = 0;
    const uint64_t id_ = next_id();
    Signature signature_;
    std::atomic<uint32_t> compilations_{0};  // counted by what follows, which is gone before it
    std::atomic<uint64_t> shape_hits_{0};        // likewise
    ov::CompiledModel compiled_;
    std::unique_ptr<DynamicGraph> dynamic_graph_;
    std::unique_ptr<ShapeCheck> shape_check_;
    std::unique_ptr<ShapeCache> shape_cache_;
    InferPool pool_;
    uint32_t nireq_ = 0;
    uint32_t streams_ = 0;
    bool compiles_shapes_ = false;
    bool small_ = false;
    std::atomic<uint32_t> pins_{0};
    std::atomic<bool> awaited_{false};  // somebody waits for the last pin
    std::mutex mutex_;
    std::condition_variable unused_;
};

// Keeps a model from being unloaded for as long as it lives.
class ModelPin {
public:
    ModelPin() = default;
    explicit ModelPin(std::shared_ptr<Model> model) : model_(std::move(model)) { model_->pin(); }
    explicit operator bool() const { return model_ != nullptr; }
    ModelPin(ModelPin&&) = default;
    ModelPin& operator=(ModelPin&& other) noexcept {
        release();
        model_ = std::move(other.model_);
        return *this;
    }
    ~ModelPin() { release(); }

    Model* operator->() const { return model_.get(); }
    Model& operator*() const { return *model_; }
    const std::shared_ptr<Model>& shared() const { return model_; }
    Model* get() const { return model_.get(); }

private:
    void release() {
        if (model_ != nullptr) model_->unpin();
        model_.reset();
    }
    std::shared_ptr<Model> model_;
};

}  // namespace ovms
