# Ordered stores, the file lock and the mapping; see store.h.
from libc.stdint cimport uint64_t


cdef extern from "store.h" nogil:
    void store_release(uint64_t* place, uint64_t value) noexcept
    void store_barrier() noexcept
    int region_lock(int fd) noexcept
    unsigned char* region_map(int fd, size_t bytes) noexcept
    int region_populate(unsigned char* base, size_t bytes) noexcept
    int region_rename(const char* name, const char* new_name) noexcept
    void region_blank(unsigned char* base, size_t bytes) noexcept
