"""One read window per worker, and the budget for what could not be taken out of it.

Every stream may hold HOLD_BYTES_FREE; what it holds above that is charged to a budget that all share, at most twice the bytes that its
peer has sent: room for a long unit grows by doubling. Reads on suspicion, of bytes that may have to wait for the arena or for a
partition, use the first half of the budget only; the second half is left for units that are under way.

A stream whose unit does not fit the budget any more waits in a queue. The first in it has the *turn*: it alone may exceed the budget,
by this one unit, and reads no more than the unit needs, or HOLD_BYTES_FREE at a time where its end is not known. It leaves the queue
when the budget allows what it holds, at the latest when its unit was taken, and others leave it as soon as the budget allows their
next bytes. So no streams ever wait for each other's bytes only: whoever waits for budget is behind a stream that does not. That one
waits for its peer, and its listener ends it after a moment if others wait (`Stream.awaited`), or for the arena or a partition, which is to
wait for Kafka.

Held in all: the budget, one unit, HOLD_BYTES_FREE per stream.
"""

from libc.stddef cimport size_t
from libc.stdlib cimport free, malloc

from ingestd.hotpath.limits cimport HOLD_BYTES_FREE, HOLD_COPY_BYTES_MAX


cdef inline size_t charge(size_t capacity) noexcept nogil:
    return capacity - HOLD_BYTES_FREE if capacity > HOLD_BYTES_FREE else 0


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
        return charge(after) <= charge(before) or self.charged_bytes - charge(before) + charge(after) <= self.hold_bytes

    cdef void account(self, size_t before, size_t after) noexcept nogil:
        self.held_bytes = self.held_bytes - before + after
        self.charged_bytes = self.charged_bytes - charge(before) + charge(after)

    cdef size_t readable(self, size_t capacity, size_t length, size_t least_bytes, bint turn) noexcept nogil:
        cdef size_t used = self.charged_bytes - charge(capacity)
        cdef size_t half = self.hold_bytes // 2
        # On suspicion: what is held then, its free bytes included, is inside the first half.
        cdef size_t room = half - used if half > used else 0
        room = room + HOLD_BYTES_FREE - length if room + HOLD_BYTES_FREE > length else 0
        if room < least_bytes and (turn or used + charge(length + least_bytes) <= self.hold_bytes):
            room = least_bytes
        return min(room, self.read_bytes)

    cdef bint turn(self, Waiter* waiter) noexcept nogil:
        self.pass_on()
        if not waiter.ticket:
            self.ticket += 1
            waiter.ticket = self.ticket
            waiter.previous = self.last
            waiter.next = NULL
            if self.last != NULL:
                self.last.next = waiter
            else:
                self.first = waiter
            self.last = waiter
            waiter.parked = False
        return self.first == waiter

    cdef void leave(self, Waiter* waiter) noexcept nogil:
        if not waiter.ticket:
            return
        if waiter.previous != NULL:
            waiter.previous.next = waiter.next
        else:
            self.first = waiter.next
        if waiter.next != NULL:
            waiter.next.previous = waiter.previous
        else:
            self.last = waiter.previous
        waiter.ticket = 0

    cdef void pass_on(self) noexcept nogil:
        if self.first != NULL and self.first.parked and self.charged_bytes <= self.hold_bytes:
            self.leave(self.first)

    cdef bint short(self) noexcept nogil:
        return self.charged_bytes > self.hold_bytes // 2
