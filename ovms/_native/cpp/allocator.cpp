#include "allocator.hpp"

#include <algorithm>
#include <thread>
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace ovms {

void keep_freed_memory() {
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 32 << 20);  // below this: from the heap, not by mmap; glibc takes no larger one
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    // Each arena keeps free memory of its own, so there are as many as can be of use at once and not, as by default,
    // eight for every core.
    mallopt(M_ARENA_MAX, static_cast<int>(std::max(2u, std::thread::hardware_concurrency())));
#endif
}

void return_freed_memory() {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

}  // namespace ovms
