"""One read window per worker, and the budget for what could not be taken out of it."""

from libc.stddef cimport size_t
from libc.stdlib cimport free, malloc

from ingestd.hotpath.limits cimport HOLD_BYTES_FREE, HOLD_COPY_BYTES_MAX


cdef class Window:

    def __cinit__(self, size_t read_bytes, size_t hold_bytes):
        if read_bytes < 4096:
            raise ValueError("a read window has at least 4096 bytes")
        self.read_bytes = read_bytes
        self.size = HOLD_COPY_BYTES_MAX + read_bytes
        self.hold_bytes = hold_bytes
        self.bytes = <unsigned char*>malloc(self.size)
        if self.bytes == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.bytes)

    cdef bint allows(self, size_t before, size_t after) noexcept nogil:
        return after <= before or after <= HOLD_BYTES_FREE or self.held_bytes - before + after <= self.hold_bytes

    cdef void account(self, size_t before, size_t after) noexcept nogil:
        self.held_bytes = self.held_bytes - before + after

    cdef size_t readable(self, size_t capacity, size_t length) noexcept nogil:
        cdef size_t used = self.held_bytes - capacity + length
        cdef size_t room = self.hold_bytes - used if self.hold_bytes > used else 0
        if length + room < HOLD_BYTES_FREE:
            room = HOLD_BYTES_FREE - length
        return min(room, self.read_bytes)
