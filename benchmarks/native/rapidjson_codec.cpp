// JSON bodies <-> values with RapidJSON, as one would write it who wants it fast: events instead of a document, one
// vector and one output buffer that are kept. It checks neither names nor shapes.
//
// Usage: rapidjson_codec. For each line "<seconds> parse|print f32|i64|string <shape> <file>" on standard input it runs
// about so long and prints the seconds per call. The shape is like 1x3x224x224. The file holds the body to parse, or
// the raw values to print: little-endian, strings with a newline behind each.
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using Output = rapidjson::StringBuffer;
using Writer = rapidjson::Writer<Output>;

[[noreturn]] void give_up(const std::string& why) {
    std::cerr << "rapidjson_codec: " << why << std::endl;
    std::exit(1);
}

template <class T>
struct Values : rapidjson::BaseReaderHandler<rapidjson::UTF8<>, Values<T>> {
    std::vector<T> values;

    template <class Number>
    bool number(Number value) {
        if constexpr (std::is_same_v<T, std::string>) return false;
        else values.push_back(static_cast<T>(value));
        return true;
    }
    bool Double(double value) { return number(value); }
    bool Int(int value) { return number(value); }
    bool Uint(unsigned value) { return number(value); }
    bool Int64(int64_t value) { return number(value); }
    bool Uint64(uint64_t value) { return number(value); }
    bool String(const char* text, rapidjson::SizeType size, bool) {
        if constexpr (std::is_same_v<T, std::string>) values.emplace_back(text, size);
        return std::is_same_v<T, std::string>;
    }
    bool Key(const char*, rapidjson::SizeType, bool) { return true; }
};

void write(Writer& writer, float value) { writer.Double(static_cast<double>(value)); }
void write(Writer& writer, int64_t value) { writer.Int64(value); }
void write(Writer& writer, const std::string& value) {
    writer.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
}

template <class T>
const T* write_nested(Writer& writer, const std::vector<size_t>& shape, size_t level, const T* value) {
    writer.StartArray();
    for (size_t i = 0; i < shape[level]; ++i) {
        if (level + 1 < shape.size()) value = write_nested(writer, shape, level + 1, value);
        else write(writer, *value++);
    }
    writer.EndArray();
    return value;
}

std::string content_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) give_up("no file " + path);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<size_t> sizes_of(const std::string& text) {
    std::vector<size_t> sizes;
    std::istringstream stream(text);
    for (std::string size; std::getline(stream, size, 'x');) sizes.push_back(std::stoul(size));
    return sizes;
}

template <class T>
std::vector<T> values_of(const std::string& content) {
    std::vector<T> values;
    if constexpr (std::is_same_v<T, std::string>) {
        std::istringstream stream(content);
        for (std::string line; std::getline(stream, line);) values.push_back(line);
    } else {
        values.resize(content.size() / sizeof(T));
        std::memcpy(values.data(), content.data(), values.size() * sizeof(T));
    }
    return values;
}

template <class T>
std::function<void()> task(const std::string& what, const std::vector<size_t>& shape, const std::string& path) {
    size_t count = 1;
    for (const size_t size : shape) count *= size;
    if (what == "parse") {
        return [body = content_of(path), handler = std::make_shared<Values<T>>(), count] {
            handler->values.clear();
            rapidjson::Reader reader;
            rapidjson::MemoryStream stream(body.data(), body.size());
            if (!reader.Parse(stream, *handler)) give_up("no JSON, or of other values");
            if (handler->values.size() != count) give_up("other than " + std::to_string(count) + " values");
        };
    }
    std::vector<T> values = values_of<T>(content_of(path));
    if (values.size() != count) give_up("values do not fit the shape");
    return [values = std::move(values), shape, output = std::make_shared<Output>()] {
        output->Clear();
        Writer writer(*output);
        writer.StartObject();
        writer.Key("predictions");
        write_nested(writer, shape, 0, values.data());
        writer.EndObject();
    };
}

double seconds_of(const std::function<void()>& call, size_t count) {
    const auto began = std::chrono::steady_clock::now();
    for (size_t i = 0; i < count; ++i) call();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

}  // namespace

int main() {
    std::map<std::string, std::function<void()>> tasks;
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        double seconds = 0;
        std::string what, dtype, shape, path;
        words >> seconds >> what >> dtype >> shape >> path;
        std::function<void()>& call = tasks[what + path];
        if (!call) {
            if (dtype == "f32") call = task<float>(what, sizes_of(shape), path);
            else if (dtype == "i64") call = task<int64_t>(what, sizes_of(shape), path);
            else call = task<std::string>(what, sizes_of(shape), path);
        }
        const size_t count = static_cast<size_t>(seconds / seconds_of(call, 1)) + 1;
        std::cout << seconds_of(call, count) / static_cast<double>(count) << std::endl;
    }
}
