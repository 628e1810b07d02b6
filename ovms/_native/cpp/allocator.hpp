// What the process's allocator does with memory that is freed.
#pragma once

namespace ovms {

// For a server: freed blocks of a message's size are kept for the next message. glibc by default gives them back to the
// system and gets every page anew, with a page fault each: measured, 150 faults and a third of all CPU of a call with
// 602 kB each way. Up to 64 MiB of free memory for each of glibc's arenas stay with the process for it; blocks of 8 MiB
// and more go back at once. There are as many arenas as by default: with fewer, two threads that compute may get the same
// one, and a model that allocates while it runs was seen to take three times as long, waiting for its lock.
void keep_freed_memory();

// For as long as it lives, what is freed is given back to the system, and at its end all that is free: for the moment
// when something large goes.
class GiveBackFreed {
public:
    GiveBackFreed();
    GiveBackFreed(const GiveBackFreed&) = delete;
    ~GiveBackFreed();
};

}  // namespace ovms
