// Where the large tensor of a PredictRequest will lie, found out from its first bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ovms::net {

// The offset of the first tensor_content of at least least bytes, as far as the first size bytes of the message show it;
// 0 if they do not. The message need not be sound: whoever reads it checks it.
size_t large_content_offset(const uint8_t* data, size_t size, size_t least);

}  // namespace ovms::net
