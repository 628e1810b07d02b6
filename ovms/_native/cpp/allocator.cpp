#include "allocator.hpp"

#include <atomic>
#include <cstdlib>  // defines __GLIBC__, where that is the C library
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace ovms {
namespace {

constexpr int kSmallestMapped = 8 << 20;
constexpr int kKept = 64 << 20;
constexpr int kKeptMeanwhile = 128 << 10;  // glibc's default

std::atomic<bool> keeps{false};
std::atomic<int> giving_back{0};

}  // namespace

void keep_freed_memory() {
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, kSmallestMapped);
    mallopt(M_TRIM_THRESHOLD, kKept);
    keeps = true;
#endif
}

// malloc_trim alone does not give back the end of any arena but the first; freeing with a low threshold does.
GiveBackFreed::GiveBackFreed() {
#ifdef __GLIBC__
    if (keeps && giving_back.fetch_add(1) == 0) mallopt(M_TRIM_THRESHOLD, kKeptMeanwhile);
#endif
}

GiveBackFreed::~GiveBackFreed() {
#ifdef __GLIBC__
    if (keeps && giving_back.fetch_sub(1) == 1) mallopt(M_TRIM_THRESHOLD, kKept);
    malloc_trim(0);
#endif
}

}  // namespace ovms
