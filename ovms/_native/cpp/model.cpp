#include "model.hpp"

#include "allocator.hpp"

namespace ovms {

uint64_t Model::next_id() {
    static std::atomic<uint64_t> last{0};
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

bool Model::wait_unused(Deadline deadline) {
    std::unique_lock lock(mutex_);
    awaited_.store(true, std::memory_order_seq_cst);
    const auto unused = [&] { return pins_.load(std::memory_order_seq_cst) == 0; };
    if (deadline == Deadline::max()) {
        unused_.wait(lock, unused);
        return true;
    }
    return unused_.wait_until(lock, deadline, unused);
}

void Model::take_turns(bool on) {
    pool_.take_turns(on);
    if (shape_cache_ != nullptr) shape_cache_->take_turns(on);
}

void Model::unload() {
    const GiveBackFreed giving_back;
    pool_.clear();
    compiled_ = {};
    shape_cache_.reset();
    dynamic_graph_.reset();
    shape_check_.reset();
}

}  // namespace ovms
