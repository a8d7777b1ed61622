# One accepted connection: reads its socket through the shared window, keeps what is incomplete or has to wait.
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t

from ingestd.hotpath.appender cimport Appender
from ingestd.hotpath.input cimport Input, Listener
from ingestd.hotpath.window cimport Waiter, Window

cdef class Stream:
    cdef object intake             # owns the listener and the topics that `input` points to
    cdef Appender appender
    cdef Window window
    cdef Input input
    cdef int fd
    cdef uint32_t number           # of the connection
    cdef readonly int error_number # errno of the last read, with ERRNO
    cdef bint parked               # stopped by CONTROL, BLOCKED or TOPIC_WAIT: `held` goes on in resume()
    cdef bint finished
    cdef list control
    # Held bytes: held[held_at : held_at + held_length] of an allocation of held_capacity, which the window's budget knows.
    cdef unsigned char* held
    cdef size_t held_at
    cdef size_t held_length
    cdef size_t held_capacity
    cdef Waiter waiter             # for the budget
    cdef size_t looked_bytes       # so much of the held bytes has been searched for a CONFIRM frame; may lead beyond them
    cdef readonly bint records_begun

    cdef uint32_t _read(self, int64_t now_ms, int64_t tick_ms, const unsigned char* fed, size_t fed_bytes, size_t* taken) except? 0
    cdef uint32_t _not_now(self, uint32_t reason) noexcept
    cdef unsigned char* _room(self, size_t* room) noexcept
    cdef unsigned char* _place(self, bint turn, size_t* room) noexcept
    cdef int64_t _receive(self, unsigned char* place, size_t room, const unsigned char* fed, size_t fed_bytes, size_t* taken) noexcept
    cdef uint32_t _parse(self, const unsigned char* data, size_t length, bint last) except? 0
    cdef size_t _parse_frames(self, const unsigned char* data, size_t length) except? 0
    cdef int _choose(self, const unsigned char* data, size_t length, bint last) except -1
    cdef void _hold(self, const unsigned char* data, size_t length) noexcept
    cdef void _keep_turn(self) noexcept
    cdef bint _hold_capacity(self, size_t capacity, bint turn) noexcept
    cdef uint32_t _resume(self, int64_t now_ms, int64_t tick_ms) except? 0
    cdef uint32_t _look_ahead(self, int64_t now_ms, int64_t tick_ms, const unsigned char* fed, size_t fed_bytes, size_t* taken) except? 0
    cdef int _find_confirm(self) except -1

cdef Stream stream_open(Appender appender, Window window, const Listener* listener, int fd, uint32_t number)
