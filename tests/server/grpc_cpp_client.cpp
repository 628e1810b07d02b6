// A gRPC C++ client with plain bytes for messages: tests compile it.
//
//   grpc_cpp_client HOST:PORT METHOD TIMEOUT_MS COUNT [gzip] < message
//
// Prints for each of COUNT calls, which are all under way at once, its code and text, and the size of the answer.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

struct Call {
    grpc::ClientContext context;
    grpc::Status status;
    grpc::ByteBuffer answer;
    std::unique_ptr<grpc::ClientAsyncResponseReader<grpc::ByteBuffer>> reader;
};

int main(int count, char** arguments) {
    const std::string message{std::istreambuf_iterator<char>(std::cin), {}};
    const grpc::Slice slice(message);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ChannelArguments options;
    options.SetMaxReceiveMessageSize(-1);
    if (count > 5) options.SetCompressionAlgorithm(GRPC_COMPRESS_GZIP);
    grpc::GenericStub stub(grpc::CreateCustomChannel(arguments[1], grpc::InsecureChannelCredentials(), options));
    grpc::CompletionQueue queue;
    std::vector<std::unique_ptr<Call>> calls;
    for (int i = 0; i < std::stoi(arguments[4]); ++i) {
        auto& call = *calls.emplace_back(std::make_unique<Call>());
        call.context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(std::stoi(arguments[3])));
        call.reader = stub.PrepareUnaryCall(&call.context, arguments[2], request, &queue);
        call.reader->StartCall();
        call.reader->Finish(&call.answer, &call.status, &call);
    }
    void* tag = nullptr;
    bool ok = false;
    for (size_t i = 0; i < calls.size(); ++i) queue.Next(&tag, &ok);
    for (const auto& call : calls)
        std::printf("%d %zu %s\n", static_cast<int>(call->status.error_code()), call->answer.Valid() ? call->answer.Length() : 0,
                    call->status.error_message().c_str());
}
