// Errors by value: a canonical code and a message. Nothing in this folder throws on purpose; only
// allocation failure may cross a function boundary as an exception.
#pragma once

#include <string>
#include <utility>

namespace ovms {

// google.rpc.Code, the subset the data plane produces. ovms/errors.py has the same numbers.
enum class Code : int {
    kPostponed = -1,  // no error: see Caller::inline_only. Never leaves C++
    kOk = 0,
    kCancelled = 1,
    kInvalidArgument = 3,
    kDeadlineExceeded = 4,
    kNotFound = 5,
    kAlreadyExists = 6,
    kResourceExhausted = 8,
    kFailedPrecondition = 9,
    kInternal = 13,
    kUnavailable = 14,
};

struct [[nodiscard]] Status {
    Code code = Code::kOk;
    std::string message;  // empty when ok

    bool ok() const { return code == Code::kOk; }
    int number() const { return static_cast<int>(code); }
};

inline Status invalid_argument(std::string message) { return {Code::kInvalidArgument, std::move(message)}; }

}  // namespace ovms
