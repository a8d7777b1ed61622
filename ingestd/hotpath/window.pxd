# The read window that all streams of a worker share, and the budget of bytes that streams and datagram sockets hold while they wait.
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

cdef struct Waiter:                # a stream's place in the queue for the turn; zero: not in it
    uint64_t ticket
    Waiter* next
    Waiter* previous
    bint parked                    # its unit was read and waits for the arena or the like

cdef class Window:
    cdef unsigned char* bytes
    cdef size_t size               # HOLD_COPY_BYTES_MAX in front for a held partial unit, and at least window_bytes behind it
    cdef size_t read_bytes         # what one read takes at most
    cdef size_t hold_bytes         # budget, of bytes above HOLD_BYTES_FREE per holder
    cdef size_t charged_bytes      # used of it
    cdef size_t held_bytes         # by all holders, the free ones included
    cdef Waiter* first             # has the turn
    cdef Waiter* last
    cdef uint64_t ticket           # the newest

    # True if a holder may go from `before` to `after` allocated bytes without a turn.
    cdef bint allows(self, size_t before, size_t after) noexcept nogil
    cdef void account(self, size_t before, size_t after) noexcept nogil
    # What a holder of `length` bytes (in `capacity` allocated ones) may read now, so that all of it could be held. `least_bytes`: what brings its
    # unit on; `turn`: it may have those whatever the budget says. 0: nothing.
    cdef size_t readable(self, size_t capacity, size_t length, size_t least_bytes, bint turn) noexcept nogil
    # Puts a holder that the budget does not allow what it needs into the queue, if it is not in it. True: it has the turn.
    cdef bint turn(self, Waiter* waiter) noexcept nogil
    cdef void leave(self, Waiter* waiter) noexcept nogil
    # Takes the turn from a parked holder that no longer exceeds the budget, since others have let go of bytes.
    cdef void pass_on(self) noexcept nogil
    # More than half of the budget is used.
    cdef bint short(self) noexcept nogil
