#include "small_model.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <openvino/op/constant.hpp>
#include <openvino/op/convolution.hpp>
#include <openvino/op/group_conv.hpp>
#include <openvino/op/matmul.hpp>
#include <openvino/op/util/arithmetic_reduction.hpp>
#include <openvino/op/util/avg_pool_base.hpp>
#include <openvino/op/util/binary_elementwise_arithmetic.hpp>
#include <openvino/op/util/binary_elementwise_comparison.hpp>
#include <openvino/op/util/binary_elementwise_logical.hpp>
#include <openvino/op/util/logical_reduction.hpp>
#include <openvino/op/util/max_pool_base.hpp>
#include <openvino/op/util/op_types.hpp>
#include <openvino/op/util/unary_elementwise_arithmetic.hpp>
#include <string_view>
#include <unordered_set>

namespace ovms {
namespace {

// Some tens of microseconds on one core; to wake another one takes as long. `python -m benchmarks --only tuning` has models
// of ten and of 150,528 numbers with this and without.
constexpr uint64_t kMostWork = 1 << 18;
constexpr size_t kMostOperations = 256;  // each costs about a microsecond, whatever it does
constexpr uint64_t kUnknown = std::numeric_limits<uint64_t>::max();

// Operations, besides the elementwise ones and reductions, that touch each element about once.
bool touches_once(std::string_view type) {
    static const std::unordered_set<std::string_view> types{
        "BatchNormInference", "Broadcast", "ChannelShuffle", "Clamp", "Concat", "Convert", "ConvertLike", "CumSum", "DepthToSpace", "Elu",
        "FakeQuantize", "Gather", "GatherElements", "GatherND", "HardSigmoid", "LogSoftmax", "LRN", "MVN",
        "NormalizeL2", "OneHot", "Pad", "PRelu", "Range", "Reshape", "Reverse", "Roll", "ScatterUpdate", "Select", "Selu",
        "ShapeOf", "Slice", "Softmax", "SoftPlus", "SpaceToDepth", "Split", "Squeeze", "StridedSlice", "Swish", "Tile",
        "Transpose", "Unsqueeze", "VariadicSplit"};
    return types.contains(type);
}

uint64_t elements(const ov::PartialShape& shape) {
    return shape.is_static() ? ov::shape_size(shape.to_shape()) : kUnknown;
}

uint64_t largest_tensor(const ov::Node& node) {
    uint64_t most = 0;
    for (size_t i = 0; i < node.get_input_size(); ++i) most = std::max(most, elements(node.get_input_partial_shape(i)));
    for (size_t i = 0; i < node.get_output_size(); ++i) most = std::max(most, elements(node.get_output_partial_shape(i)));
    return most;
}

uint64_t product(uint64_t a, uint64_t b) { return b != 0 && a > kUnknown / b ? kUnknown : a * b; }

// How many multiplications each element of the output takes.
uint64_t multiplications(const ov::Shape& left, const ov::op::v0::MatMul& node) {
    const size_t rank = left.size();
    return rank < 2 ? left[0] : left[node.get_transpose_a() ? rank - 2 : rank - 1];
}

uint64_t work_of(const ov::Node& node) {
    using namespace ov::op;
    if (util::is_parameter(&node) || util::is_output(&node) || util::is_constant(&node)) return 0;
    const uint64_t most = largest_tensor(node);
    if (most == kUnknown) return kUnknown;
    const uint64_t out = elements(node.get_output_partial_shape(0));
    if (const auto* matmul = ov::as_type<const v0::MatMul>(&node))
        return std::max(most, product(out, multiplications(node.get_input_shape(0), *matmul)));
    // Weights are [outputs, inputs, kernel], or [groups, outputs, inputs, kernel] of a group.
    const bool grouped = ov::is_type<v1::GroupConvolution>(&node);
    if (grouped || ov::is_type<v1::Convolution>(&node)) {
        const ov::Shape weights = node.get_input_shape(1);
        const size_t outputs = grouped ? weights[0] * weights[1] : weights[0];
        return std::max(most, product(out, ov::shape_size(weights) / std::max<size_t>(1, outputs)));
    }
    if (const auto* pool = ov::as_type<const util::MaxPoolBase>(&node))
        return std::max(most, product(out, ov::shape_size(pool->get_kernel())));
    if (const auto* pool = ov::as_type<const util::AvgPoolBase>(&node))
        return std::max(most, product(out, ov::shape_size(pool->get_kernel())));
    const bool once = ov::is_type<util::UnaryElementwiseArithmetic>(&node) || ov::is_type<util::BinaryElementwiseArithmetic>(&node) ||
                      ov::is_type<util::BinaryElementwiseComparison>(&node) || ov::is_type<util::BinaryElementwiseLogical>(&node) ||
                      ov::is_type<util::ArithmeticReduction>(&node) || ov::is_type<util::LogicalReduction>(&node) ||
                      touches_once(node.get_type_name());
    return once ? most : kUnknown;
}

}  // namespace

bool is_small(const ov::Model& model) {
    const auto operations = model.get_ops();
    if (operations.size() > 4 * kMostOperations) return false;  // a look at each would take its time
    uint64_t work = 0;
    size_t count = 0;
    for (const auto& node : operations) {
        const uint64_t one = work_of(*node);
        if (one > kMostWork - work) return false;
        work += one;
        count += one != 0;
    }
    return count <= kMostOperations;
}

}  // namespace ovms
