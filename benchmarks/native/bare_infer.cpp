// The least that an inference can cost: a C++ loop that copies the input in, runs, and reads the outputs. No server.
//
// Usage: bare_infer MODEL.xml [KEY=VALUE ...]; the rest of the arguments are OpenVINO properties for the CPU.
// For each line "<seconds>" on standard input it runs about so long and prints the seconds per iteration.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <openvino/openvino.hpp>
#include <string>
#include <vector>

int main(int argc, char** argv) {
    using Clock = std::chrono::steady_clock;
    if (argc < 2) return 2;
    ov::AnyMap config;
    for (int i = 2; i < argc; ++i) {
        const std::string option = argv[i];
        const size_t equals = option.find('=');
        config[option.substr(0, equals)] = option.substr(equals + 1);
    }
    ov::Core core;
    ov::CompiledModel model = core.compile_model(argv[1], "CPU", config);
    ov::InferRequest request = model.create_infer_request();
    ov::Tensor input = request.get_input_tensor(0);
    const std::vector<uint8_t> source(input.get_byte_size());
    std::vector<uint8_t> answer;

    const auto seconds_of = [&](size_t iterations) {
        const auto began = Clock::now();
        for (size_t i = 0; i < iterations; ++i) {
            std::memcpy(input.data(), source.data(), source.size());
            request.infer();
            const ov::Tensor output = request.get_output_tensor(0);
            answer.resize(output.get_byte_size());
            std::memcpy(answer.data(), output.data(), answer.size());
        }
        return std::chrono::duration<double>(Clock::now() - began).count();
    };
    seconds_of(100);
    for (std::string line; std::getline(std::cin, line);) {
        const double once = seconds_of(10) / 10;
        const auto iterations = static_cast<size_t>(std::stod(line) / once) + 1;
        std::cout << seconds_of(iterations) / static_cast<double>(iterations) << std::endl;
    }
}
