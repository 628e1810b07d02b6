// Conversion between numeric element types, by NumPy's unsafe casting rules.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dtype.hpp"

namespace ovms {

// Converts count elements. src may lie at any address; dst is aligned for its type; they do not overlap.
// Integers wrap; float to integer truncates towards zero, and NaN or a value outside the integer's range
// gives what x86's conversion gives (the smallest int32 or int64, cut to the target's width); any value
// but zero is true; float64 and float32 to half and bfloat16 round to nearest even.
// Neither type may be kString: nothing converts to or from strings.
void convert(DType from, const void* src, DType to, void* dst, size_t count);

float half_to_float(uint16_t bits);
uint16_t float_to_half(float value);
uint16_t double_to_half(double value);

}  // namespace ovms
