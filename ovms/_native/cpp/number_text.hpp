// Numbers -> the fewest digits that read back to the same bits, as JSON spells them.
//
// Floats always have a point or an exponent, so that they stay floats for readers that tell the two apart; the exponent
// begins below 1e-4 and at 1e16. What is no number in JSON is spelled NaN, Infinity, -Infinity, as TensorFlow Serving
// and Python's json do.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ovms {

// The most characters that any of these functions writes; each returns the end of what it wrote.
inline constexpr size_t kLongestNumber = 32;

char* write_float(char* out, float value);
char* write_double(char* out, double value);
char* write_half(char* out, uint16_t bits);    // float16
char* write_bfloat(char* out, uint16_t bits);  // bfloat16
char* write_unsigned(char* out, uint64_t value);
char* write_integer(char* out, int64_t value);

}  // namespace ovms
