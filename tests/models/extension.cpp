// A library with operations of one's own, as somebody who serves such models builds it.
//
// Triple: y = 3 x, for f32 of any shape. FixedTriple: the same, and refuses dimensions that are not known; for 13 rows it
// has nothing to compute with, which OpenVINO finds out when it compiles.
#include <openvino/core/extension.hpp>
#include <openvino/core/op_extension.hpp>
#include <openvino/op/op.hpp>

namespace {

class Triple : public ov::op::Op {
public:
    OPENVINO_OP("Triple", "ovms_test");
    Triple() = default;
    explicit Triple(const ov::Output<ov::Node>& x) : Op({x}) { constructor_validate_and_infer_types(); }

    void validate_and_infer_types() override {
        set_output_type(0, get_input_element_type(0), get_input_partial_shape(0));
    }
    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override {
        return std::make_shared<Triple>(inputs.at(0));
    }
    bool visit_attributes(ov::AttributeVisitor&) override { return true; }
    bool has_evaluate() const override { return true; }
    bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override {
        outputs[0].set_shape(inputs[0].get_shape());
        for (size_t i = 0; i < inputs[0].get_size(); ++i) outputs[0].data<float>()[i] = 3 * inputs[0].data<float>()[i];
        return true;
    }
};

class FixedTriple : public Triple {
public:
    OPENVINO_OP("FixedTriple", "ovms_test", Triple);
    FixedTriple() = default;
    explicit FixedTriple(const ov::Output<ov::Node>& x) {
        set_arguments({x});
        constructor_validate_and_infer_types();
    }

    void validate_and_infer_types() override {
        NODE_VALIDATION_CHECK(this, get_input_partial_shape(0).is_static(), "FixedTriple needs a known shape");
        Triple::validate_and_infer_types();
    }
    bool has_evaluate() const override { return get_input_shape(0).at(0) != 13; }
    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override {
        return std::make_shared<FixedTriple>(inputs.at(0));
    }
};

}  // namespace

OPENVINO_CREATE_EXTENSIONS(std::vector<ov::Extension::Ptr>({
    std::make_shared<ov::OpExtension<Triple>>(),
    std::make_shared<ov::OpExtension<FixedTriple>>(),
}));
