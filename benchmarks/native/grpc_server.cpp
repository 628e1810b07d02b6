// The gRPC server one would write in C++ who wants it fast: callback API, protobuf messages, OpenVINO's C++ API.
//
// Usage: grpc_server --model_name NAME --model_path MODEL.xml --port PORT --nireq N [KEY=VALUE ...]; the rest are
// OpenVINO properties for the CPU.
//
// It serves Predict of a model with f32 inputs and outputs, and checks names, dtypes and shapes, so that a wrong request
// gets INVALID_ARGUMENT. A call runs on gRPC's thread; infer requests are made up front and wait in a queue. Outputs are
// returned as tensor_content.
#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <openvino/openvino.hpp>
#include <string>
#include <utility>
#include <vector>

#include "predict.grpc.pb.h"

namespace {

namespace serving = tensorflow::serving;

class InferRequests {
  public:
    InferRequests(ov::CompiledModel& model, int count) {
        for (int i = 0; i < count; ++i) free_.push_back(model.create_infer_request());
    }

    ov::InferRequest take() {
        std::unique_lock lock(mutex_);
        given_back_.wait(lock, [this] { return !free_.empty(); });
        ov::InferRequest request = std::move(free_.back());
        free_.pop_back();
        return request;
    }

    void give_back(ov::InferRequest request) {
        {
            const std::lock_guard lock(mutex_);
            free_.push_back(std::move(request));
        }
        given_back_.notify_one();
    }

  private:
    std::mutex mutex_;
    std::condition_variable given_back_;
    std::vector<ov::InferRequest> free_;
};

class Lease {
  public:
    explicit Lease(InferRequests& requests) : request(requests.take()), requests_(requests) {}
    ~Lease() { requests_.give_back(std::move(request)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    ov::InferRequest request;

  private:
    InferRequests& requests_;
};

class PredictionService final : public serving::PredictionService::CallbackService {
  public:
    PredictionService(std::string name, ov::CompiledModel model, int nireq)
        : name_(std::move(name)), model_(std::move(model)), requests_(model_, nireq) {
        for (const auto& port : model_.inputs()) inputs_.emplace_back(port.get_any_name(), port.get_partial_shape());
        for (const auto& port : model_.outputs()) outputs_.push_back(port.get_any_name());
    }

    grpc::ServerUnaryReactor* Predict(grpc::CallbackServerContext* context, const serving::PredictRequest* request,
                                      serving::PredictResponse* response) override {
        grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
        reactor->Finish(predict(*request, *response));
        return reactor;
    }

  private:
    grpc::Status predict(const serving::PredictRequest& request, serving::PredictResponse& response) {
        const auto wrong = [](const std::string& why) {
            return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, why);
        };
        if (request.model_spec().name() != name_) return wrong("no such model");
        if (static_cast<size_t>(request.inputs_size()) != inputs_.size()) return wrong("not the model's inputs");
        // Before the lease ends these are read, where they lie in the message.
        std::vector<ov::Tensor> tensors;
        for (const auto& [name, limits] : inputs_) {
            const auto found = request.inputs().find(name);
            if (found == request.inputs().end()) return wrong("no input " + name);
            const serving::TensorProto& proto = found->second;
            ov::Shape shape;
            for (const auto& dim : proto.tensor_shape().dim()) shape.push_back(static_cast<size_t>(dim.size()));
            if (proto.dtype() != serving::DT_FLOAT || !limits.compatible(ov::PartialShape(shape)) ||
                proto.tensor_content().size() != ov::shape_size(shape) * sizeof(float))
                return wrong("input " + name + " does not fit");
            void* values = const_cast<char*>(proto.tensor_content().data());
            tensors.emplace_back(ov::element::f32, shape, values);
        }
        try {
            Lease lease(requests_);
            for (size_t i = 0; i < tensors.size(); ++i) lease.request.set_input_tensor(i, tensors[i]);
            lease.request.infer();
            for (size_t i = 0; i < outputs_.size(); ++i) {
                const ov::Tensor output = lease.request.get_output_tensor(i);
                serving::TensorProto& proto = (*response.mutable_outputs())[outputs_[i]];
                proto.set_dtype(serving::DT_FLOAT);
                for (const size_t size : output.get_shape())
                    proto.mutable_tensor_shape()->add_dim()->set_size(static_cast<int64_t>(size));
                proto.set_tensor_content(output.data(), output.get_byte_size());
            }
        } catch (const std::exception& error) {
            return {grpc::StatusCode::INTERNAL, error.what()};
        }
        response.mutable_model_spec()->set_name(name_);
        return grpc::Status::OK;
    }

    const std::string name_;
    ov::CompiledModel model_;
    InferRequests requests_;
    std::vector<std::pair<std::string, ov::PartialShape>> inputs_;
    std::vector<std::string> outputs_;
};

[[noreturn]] void give_up(const std::string& why) {
    std::fprintf(stderr, "grpc_server: %s\n", why.c_str());
    std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
    std::string name, path, port;
    int nireq = 1;
    ov::AnyMap config;
    for (int i = 1; i < argc; ++i) {
        const std::string option = argv[i];
        const bool more = i + 1 < argc;
        if (option == "--model_name" && more) name = argv[++i];
        else if (option == "--model_path" && more) path = argv[++i];
        else if (option == "--port" && more) port = argv[++i];
        else if (option == "--nireq" && more) nireq = std::atoi(argv[++i]);
        else if (const size_t equals = option.find('='); equals != std::string::npos)
            config[option.substr(0, equals)] = option.substr(equals + 1);
        else give_up("unknown option " + option);
    }
    if (path.empty() || port.empty()) give_up("needs --model_path and --port");
    ov::Core core;
    ov::CompiledModel model = core.compile_model(path, "CPU", config);
    for (const auto& ports : {model.inputs(), model.outputs()})
        for (const auto& one : ports)
            if (one.get_element_type() != ov::element::f32) give_up("not f32");
    PredictionService service(name, model, nireq);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + port, grpc::InsecureServerCredentials());
    builder.RegisterService(&service);
    builder.SetMaxReceiveMessageSize(-1);
    const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
    if (!server) give_up("the port is taken");
    server->Wait();
}
