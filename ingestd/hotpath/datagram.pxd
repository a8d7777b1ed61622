# Datagram sockets: recvmmsg into one ring per worker, records taken from there.
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t

from ingestd.hotpath.appender cimport Appender
from ingestd.hotpath.input cimport Input, Listener
from ingestd.hotpath.window cimport Window


cdef extern from "<sys/socket.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        void* msg_name
        uint32_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len


cdef class Ring:                   # shared by the datagram sockets of a worker: nothing stays in it between reads
    cdef unsigned char* slots
    cdef mmsghdr messages[64]      # DATAGRAM_SLOTS
    cdef iovec parts[64]
    cdef unsigned char names[64][32]
    cdef unsigned char controls[64][32]
    cdef uint32_t used             # messages that the last read has filled
    cdef bint udp                  # armed for

    cdef void arm(self, bint udp) noexcept nogil


cdef class Datagram:
    cdef object intake             # owns the listener and the topics that `input` points to
    cdef Appender appender
    cdef Window window
    cdef Ring ring
    cdef Input input
    cdef int fd
    cdef bint udp
    cdef readonly int error_number
    cdef readonly uint32_t drops_seen      # the kernel's own count for this socket, as far as it is in the ledger
    cdef uint32_t drops_told               # as the newest datagram told it, for kernels that have no SO_MEMINFO
    cdef uint64_t distinct_senders
    # Datagrams that have to wait: per datagram length u32, source length u32, source, bytes.
    cdef unsigned char* held
    cdef size_t held_at
    cdef size_t held_length
    cdef bint held_begun                   # the first of them is the rest of one that was begun

    cdef uint32_t _read(self, int64_t now_ms, int64_t tick_ms, list fed, list sources) except? 0
    cdef int _receive(self, uint32_t count) noexcept nogil
    cdef void _fill(self, uint32_t count, list fed, list sources)
    cdef bint _take(self, const unsigned char* data, size_t length, bint begun, size_t* used) noexcept nogil
    cdef size_t _take_frames(self, const unsigned char* data, size_t length) noexcept nogil
    cdef void _source(self, const unsigned char* source, uint32_t source_bytes) noexcept nogil
    cdef void _control(self, msghdr* message) noexcept nogil
    cdef void _hold(self, uint32_t first, uint32_t count, size_t used) noexcept nogil
    cdef uint32_t _resume(self, int64_t now_ms, int64_t tick_ms) except? 0
    cdef int _take_chosen(self, const unsigned char* data, size_t length, size_t* used, uint32_t first, uint32_t count) except -1
    cdef int _look_at(self, const unsigned char* data, size_t length, bint begun) except -1
    cdef int _look_behind(self, uint32_t first, uint32_t count) except -1
    cdef int _take_held(self, const unsigned char* data, size_t length, size_t* used) except -1

cdef Datagram datagram_open(Appender appender, Window window, Ring ring, const Listener* listener, int fd, object path, bint udp)
