// A tensor as it stands in a request: a view, nothing of it converted or copied yet.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ovms {

// No model here has more dimensions; a longer shape is counted but not kept.
inline constexpr size_t kMaxRank = 16;

// No tensor of a request may take more memory than a message may have: a peer can claim any shape in a few bytes.
inline constexpr uint64_t kLargestTensor = uint64_t{1} << 30;

// How many messages are open around what stands in a TensorProto: the request's map entry and the tensor itself.
inline constexpr int kTensorDepth = 2;

struct Dims {
    std::array<int64_t, kMaxRank> size{};
    size_t rank = 0;  // may exceed kMaxRank: then only the first kMaxRank sizes are known

    void push(int64_t dim) {
        if (rank < kMaxRank) size[rank] = dim;
        ++rank;
    }
    int64_t at(size_t i) const { return size[i]; }
    // "[1, 3, 224, 224]", the way Python prints a list
    std::string text() const;
};

// The number of elements, or false if a size is negative, the rank is over kMaxRank or the product
// overflows int64.
bool element_count(const Dims& dims, uint64_t& count);

// tensorflow.TensorProto, structure only. Everything points into the request.
struct TensorRef {
    uint64_t tf_dtype = 0;  // as sent, an open enum
    Dims dims;
    std::string_view content;               // tensor_content; empty when absent
    std::string_view body;                  // the TensorProto: typed lists are read from here
    std::vector<std::string_view> more;     // further pieces, when a peer sent the message split
    bool has_list = false;                  // some typed list has a value
};

}  // namespace ovms
