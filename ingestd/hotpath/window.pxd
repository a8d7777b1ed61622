# The read window that all streams of a worker share, and the budget of bytes that streams and datagram sockets hold while they wait.
from libc.stddef cimport size_t

cdef class Window:
    cdef unsigned char* bytes
    cdef size_t size               # HOLD_COPY_BYTES_MAX in front for a held partial unit, and at least window_bytes behind it
    cdef size_t read_bytes         # what one read takes at most
    cdef size_t hold_bytes         # budget
    cdef size_t held_bytes         # used

    # True if a holder may go from `before` to `after` allocated bytes; HOLD_BYTES_FREE of every holder always may.
    cdef bint allows(self, size_t before, size_t after) noexcept nogil
    cdef void account(self, size_t before, size_t after) noexcept nogil
    # What a holder of `length` bytes (in `capacity` allocated ones) may read now, so that all of it could be held.
    cdef size_t readable(self, size_t capacity, size_t length) noexcept nogil
