# A mapped file (or anonymous memory) with one owner.
from libc.stdint cimport uint64_t


cdef class Region:
    cdef unsigned char* base       # the mapping
    cdef readonly uint64_t file_bytes
    cdef readonly object path      # None: anonymous memory
    cdef int fd

    cdef int region_create(self, uint64_t file_bytes) except -1
    cdef int region_publish(self) except -1
    cdef int region_open(self) except -1
    cdef int region_adopt(self) except -1
    cdef void region_close(self) noexcept
    cdef int _map(self) except -1
