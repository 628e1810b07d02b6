#include "allocator.hpp"

#include <cstdlib>  // defines __GLIBC__, where that is the C library
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace ovms {

void keep_freed_memory() {
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 32 << 20);  // below this: from the heap, not by mmap; glibc takes no larger one
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
#endif
}

void return_freed_memory() {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

}  // namespace ovms
