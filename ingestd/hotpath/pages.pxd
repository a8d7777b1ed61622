# Which data pages are free: derived from the directory, kept in memory. A tree over words of 64 pages finds the
# lowest run of a given length
# in logarithmic time: a 20 GiB arena has 5 million pages, and a batch is opened every few microseconds.
from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef class PageMap:
    cdef uint64_t* words           # bit set: page is free
    # per node: free pages at its start, at its end, longest run within; node 1 is the root,
    cdef uint32_t* head
    cdef uint32_t* tail            # node n has children 2n and 2n + 1, leaves (one word each) start at leaf_count
    cdef uint32_t* best
    cdef uint32_t leaf_count       # a power of two
    cdef uint32_t page_count

    # First page of the lowest free run of at least `pages` pages, -1: none.
    cdef int64_t find(self, uint32_t pages) noexcept nogil
    cdef void take(self, uint32_t first, uint32_t pages) noexcept nogil
    cdef void give(self, uint32_t first, uint32_t pages) noexcept nogil
    # True if all of these pages are free.
    cdef bint all_free(self, uint32_t first, uint32_t pages) noexcept nogil
    cdef void _mark(self, uint32_t first, uint32_t pages, bint free) noexcept nogil
    cdef void _leaf(self, uint32_t index) noexcept nogil
