"""Datagram sockets: up to 64 datagrams per system call, no Python object for any of them.

Control messages are only asked for on UDP (`SO_RXQ_OVFL`). A Unix datagram socket gets no control buffer, so that descriptors which a peer
passes to us are closed by the kernel and never become ours. When a full arena makes a datagram wait, it and all behind it that were
read are kept per socket, and the socket is not read until they are gone.
"""

cimport cython
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcpy, memmove, memset

from ingestd.hotpath.appender cimport Appender
from ingestd.hotpath.chooser cimport BLOCKED_CHOICE
from ingestd.hotpath.debug cimport allow, forbid
from ingestd.hotpath.frame cimport frames_cut, frames_parse
from ingestd.hotpath.input cimport (
    BLOCKED_PRESSURE, FLAG_AGAIN, FLAG_BLOCKED, FLAG_BROKEN, FLAG_ERRNO, FLAG_READ_MORE, FORMAT_FRAMES, FORMAT_RAW, Input, Listener,
)
from ingestd.hotpath.layout cimport REJECTED_BAD_FRAMING, REJECTED_CUT, REJECTED_EMPTY, REJECTED_SHED, REJECTED_TRUNCATED
from ingestd.hotpath.limits cimport DATAGRAM_BYTES_MAX, DATAGRAM_SLOTS
from ingestd.hotpath.lines cimport lines_parse
from ingestd.hotpath.origin cimport origin_path, origin_udp
from ingestd.hotpath.raw cimport raw_parse
from ingestd.hotpath.unaligned cimport load_u32, store_u32
from ingestd.hotpath.window cimport Window


cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT
        MSG_TRUNC
        SOL_SOCKET
        SO_RXQ_OVFL
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    int recvmmsg(int fd, mmsghdr* messages, unsigned int count, int flags, void* timeout) noexcept
    int getsockopt(int fd, int level, int name, void* value, uint32_t* length) noexcept
    int setsockopt(int fd, int level, int name, const void* value, uint32_t length) noexcept
    cmsghdr* CMSG_FIRSTHDR(msghdr* message) noexcept
    cmsghdr* CMSG_NXTHDR(msghdr* message, cmsghdr* control) noexcept
    unsigned char* CMSG_DATA(cmsghdr* control) noexcept

cdef extern from *:
    """
    #ifndef SO_MEMINFO
    #define SO_MEMINFO 55
    #endif
    """
    enum:
        SO_MEMINFO

cdef enum:
    # Slots lie 13 cache lines more than 64 KiB apart: at a power of two all their first lines would fall into the same few cache sets.
    SLOT_STRIDE = 66368
    HELD_HEAD_BYTES = 8
    MEMINFO_WORDS = 9
    MEMINFO_DROPS = 8


cdef class Ring:

    def __cinit__(self):
        cdef uint32_t index
        # Reserved, not touched: a slot costs the pages that its longest datagram so far has filled.
        self.slots = <unsigned char*>malloc(<size_t>DATAGRAM_SLOTS * SLOT_STRIDE)
        if self.slots == NULL:
            raise MemoryError
        for index in range(DATAGRAM_SLOTS):
            memset(&self.messages[index], 0, sizeof(mmsghdr))
            self.parts[index].iov_base = self.slots + <size_t>index * SLOT_STRIDE
            self.parts[index].iov_len = DATAGRAM_BYTES_MAX
            self.messages[index].msg_hdr.msg_iov = &self.parts[index]
            self.messages[index].msg_hdr.msg_iovlen = 1
        self.used = DATAGRAM_SLOTS

    def __dealloc__(self):
        free(self.slots)

    # Writes anew what the kernel has changed since the last time, which is often a few of many.
    cdef void arm(self, bint udp) noexcept nogil:
        cdef uint32_t index
        cdef msghdr* message
        if udp != self.udp:
            self.used = DATAGRAM_SLOTS
            self.udp = udp
        for index in range(self.used):
            message = &self.messages[index].msg_hdr
            message.msg_name = self.names[index] if udp else NULL
            message.msg_namelen = sizeof(self.names[index]) if udp else 0
            message.msg_control = self.controls[index] if udp else NULL
            message.msg_controllen = sizeof(self.controls[index]) if udp else 0
            message.msg_flags = 0
        self.used = 0


@cython.no_gc_clear      # its end gives back to the window what it holds; see BatchView
cdef class Datagram:
    """Made by `Intake.datagram`. Owns nothing of the fd's life; see intake.pyi for what callers must do next."""

    def __dealloc__(self):
        if self.window is not None:
            self.window.account(self.held_length, 0)
        free(self.held)

    def read(self, int64_t now_ms, int64_t tick_ms) -> int:
        return self._read(now_ms, tick_ms, None, None)

    def feed(self, datagrams: list[bytes], int64_t now_ms, int64_t tick_ms, sources: list[bytes] | None = None) -> int:
        """As `read`, from `datagrams` (64 at most) instead of the socket; `sources` are their senders' sockaddr bytes."""
        if len(datagrams) > DATAGRAM_SLOTS:
            raise ValueError(f"a read has at most {DATAGRAM_SLOTS} datagrams")
        return self._read(now_ms, tick_ms, datagrams, sources)

    cdef uint32_t _read(self, int64_t now_ms, int64_t tick_ms, list fed, list sources) except? 0:
        cdef Input* input = &self.input
        cdef mmsghdr* message
        cdef uint32_t index, count
        cdef unsigned char* data
        cdef size_t left, used = 0
        cdef int taken
        cdef int received
        if self.held != NULL:
            return self._resume(now_ms, tick_ms)
        if self.appender.pressure >= 1 and not input.listener.shed:
            input.blocked_reason = BLOCKED_PRESSURE
            return FLAG_BLOCKED
        # Whatever is read can be held: with little of the budget left, fewer datagrams are asked for.
        left = self.window.hold_bytes - min(self.window.hold_bytes, self.window.charged_bytes)
        count = <uint32_t>max(<size_t>1, min(<size_t>DATAGRAM_SLOTS, left // DATAGRAM_BYTES_MAX))
        self.ring.arm(self.udp)
        if fed is None:
            received = self._receive(count)
            if received < 0:
                return <uint32_t>-received
        else:
            received = len(fed)
            self._fill(<uint32_t>received, fed, sources)
        self.ring.used = <uint32_t>received
        self.appender.begin(input, now_ms, tick_ms)
        input.refuse_reason = REJECTED_SHED if self.appender.pressure >= 2 and input.listener.shed else 0
        for index in range(<uint32_t>received):
            message = &self.ring.messages[index]
            self.appender.pending.received_bytes += message.msg_len
            if self.udp:
                self._control(&message.msg_hdr)
                self._source(self.ring.names[index], message.msg_hdr.msg_namelen)
            if message.msg_hdr.msg_flags & MSG_TRUNC:
                self.appender.refuse(input, REJECTED_TRUNCATED, 0)
                continue
            data = self.ring.slots + <size_t>index * SLOT_STRIDE
            forbid(data + message.msg_len, SLOT_STRIDE - message.msg_len)
            taken = self._take(data, message.msg_len, False, &used)
            if input.blocked_reason == BLOCKED_CHOICE:
                taken = self._take_chosen(data, message.msg_len, &used, index + 1, <uint32_t>received)
            allow(data, SLOT_STRIDE)
            if not taken:
                self._hold(index, <uint32_t>received, used)
                break
        return self.appender.end() | (FLAG_READ_MORE if <uint32_t>received == count else 0)

    # Datagrams received, or minus the flag to return.
    cdef int _receive(self, uint32_t count) noexcept nogil:
        cdef int received
        while True:
            received = recvmmsg(self.fd, self.ring.messages, count, MSG_DONTWAIT, NULL)
            if received >= 0:
                return received
            if errno == EINTR:
                continue
            if errno == EAGAIN:
                return -<int>FLAG_AGAIN
            self.error_number = errno
            return -<int>FLAG_ERRNO

    cdef void _fill(self, uint32_t count, list fed, list sources):
        cdef uint32_t index
        cdef msghdr* message
        cdef bytes data
        for index in range(count):
            data = fed[index]
            message = &self.ring.messages[index].msg_hdr
            self.ring.messages[index].msg_len = <unsigned int>min(len(data), DATAGRAM_BYTES_MAX)
            message.msg_flags = MSG_TRUNC if len(data) > DATAGRAM_BYTES_MAX else 0
            message.msg_controllen = 0
            memcpy(message.msg_iov.iov_base, <const unsigned char*>data, self.ring.messages[index].msg_len)
            if sources is not None:
                data = sources[index]
                message.msg_namelen = <uint32_t>min(len(data), <Py_ssize_t>sizeof(self.ring.names[index]))
                memcpy(self.ring.names[index], <const unsigned char*>data, message.msg_namelen)

    # False: it has to wait, used[0] bytes of it are done. `begun`: the rest of one that waited.
    cdef bint _take(self, const unsigned char* data, size_t length, bint begun, size_t* used) noexcept nogil:
        cdef Input* input = &self.input
        if not begun:
            input.frame.inside = False
            input.scanned_bytes = 0
            if length == 0:
                self.appender.refuse(input, REJECTED_EMPTY, 0)
                return True
        if input.listener.format == FORMAT_RAW:
            used[0] = raw_parse(self.appender, input, data, length)
        elif input.listener.format == FORMAT_FRAMES:
            used[0] = self._take_frames(data, length)
        else:
            used[0] = lines_parse(self.appender, input, data, length, True)
        return not input.flags & FLAG_BLOCKED

    # Goes on with a datagram at used[0], with partitions that Python chooses: for it and for first .. count - 1 of
    # the ring at once.
    cdef int _take_chosen(self, const unsigned char* data, size_t length, size_t* used, uint32_t first, uint32_t count) except -1:
        cdef size_t more = 0
        cdef bint taken = False
        while self.input.blocked_reason == BLOCKED_CHOICE:
            self.appender.look_ahead()
            if self._look_at(data + used[0], length - used[0], True):
                self._look_behind(first, count)
            self.appender.choose()
            more = 0
            taken = self._take(data + used[0], length - used[0], True, &more)
            used[0] += more
        return taken

    # One datagram, looking ahead. False: no more can be noted.
    cdef int _look_at(self, const unsigned char* data, size_t length, bint begun) except -1:
        cdef size_t used = 0
        cdef bint all_noted = self._take(data, length, begun, &used)
        self.appender.chooser.gather()
        return all_noted

    cdef int _look_behind(self, uint32_t first, uint32_t count) except -1:
        cdef uint32_t index
        cdef mmsghdr* message
        for index in range(first, count):
            message = &self.ring.messages[index]
            if message.msg_hdr.msg_flags & MSG_TRUNC:
                continue
            if self.udp:
                self._source(self.ring.names[index], message.msg_hdr.msg_namelen)
            if not self._look_at(self.ring.slots + <size_t>index * SLOT_STRIDE, message.msg_len, False):
                return 0
        return 0

    # A datagram's frames end where it ends. What is wrong with them is that datagram's end, not its socket's.
    cdef size_t _take_frames(self, const unsigned char* data, size_t length) noexcept nogil:
        cdef Input* input = &self.input
        cdef size_t used = frames_parse(self.appender, input, data, length)
        if input.flags & FLAG_BLOCKED:
            return used
        if input.flags & FLAG_BROKEN:
            input.flags &= ~<uint32_t>FLAG_BROKEN
        else:
            frames_cut(self.appender, input, length - used, REJECTED_BAD_FRAMING)
        return length

    cdef void _source(self, const unsigned char* source, uint32_t source_bytes) noexcept nogil:
        origin_udp(&self.input.origin, self.input.listener, source, source_bytes, &self.distinct_senders)

    # Noted, not booked: what is booked is to be known to whoever reads this socket next, and reads tell nobody.
    cdef void _control(self, msghdr* message) noexcept nogil:
        cdef cmsghdr* control = CMSG_FIRSTHDR(message) if message.msg_controllen else NULL
        while control != NULL:
            if control.cmsg_level == SOL_SOCKET and control.cmsg_type == SO_RXQ_OVFL:
                self.drops_told = load_u32(CMSG_DATA(control))
            control = CMSG_NXTHDR(message, control)

    def poll_drops(self, int64_t now_ms, int64_t tick_ms) -> int:
        """Books what the kernel has dropped on this socket so far. Returns `drops_seen`."""
        cdef uint32_t[9] memory
        cdef uint32_t length = sizeof(memory)
        cdef uint32_t count = self.drops_told
        memset(memory, 0, sizeof(memory))
        if getsockopt(self.fd, SOL_SOCKET, SO_MEMINFO, memory, &length) == 0 and length >= sizeof(memory):
            count = memory[MEMINFO_DROPS]
        self.note_drops(count, now_ms, tick_ms)
        return self.drops_seen

    def note_drops(self, uint32_t count, int64_t now_ms, int64_t tick_ms) -> None:
        """Books the kernel's drop counter for this socket, as if it had been polled."""
        cdef int32_t more = <int32_t>(count - self.drops_seen)
        # The kernel's counter is 32 bits wide; what a datagram told may be behind what a poll did.
        if more <= 0:
            return
        self.appender.begin(&self.input, now_ms, tick_ms)
        self.appender.pending.kernel_dropped += <uint32_t>more
        self.drops_seen = count
        self.appender.end()

    # Keeps datagrams first .. count - 1 of the ring, the first without the bytes that were used.
    cdef void _hold(self, uint32_t first, uint32_t count, size_t used) noexcept nogil:
        cdef size_t total = 0
        cdef unsigned char* place
        cdef uint32_t index, length, source_bytes
        for index in range(first, count):
            total += HELD_HEAD_BYTES + self.ring.messages[index].msg_len + self.ring.messages[index].msg_hdr.msg_namelen
        place = <unsigned char*>malloc(total)
        if place == NULL:
            abort()
        self.held = place
        self.held_at = 0
        self.held_begun = used > 0 or self.input.frame.inside
        for index in range(first, count):
            length = self.ring.messages[index].msg_len - <uint32_t>used
            source_bytes = self.ring.messages[index].msg_hdr.msg_namelen
            # Longer than the ring's slot: refused when its turn comes.
            store_u32(place, 0xFFFFFFFFU if self.ring.messages[index].msg_hdr.msg_flags & MSG_TRUNC else length)
            store_u32(place + 4, source_bytes)
            memcpy(place + HELD_HEAD_BYTES, self.ring.names[index], source_bytes)
            place += HELD_HEAD_BYTES + source_bytes
            if not self.ring.messages[index].msg_hdr.msg_flags & MSG_TRUNC:
                memcpy(place, <unsigned char*>self.ring.parts[index].iov_base + used, length)
                place += length
            # Those behind the first count as read now; the first has been counted.
            if index > first:
                self.appender.pending.received_bytes += self.ring.messages[index].msg_len
                if self.udp:
                    self._control(&self.ring.messages[index].msg_hdr)
            used = 0
        self.held_length = place - self.held
        self.window.account(0, self.held_length)

    def resume(self, int64_t now_ms, int64_t tick_ms) -> int:
        return self._resume(now_ms, tick_ms)

    # Each held datagram asks for itself: that there are any is rare.
    cdef int _take_held(self, const unsigned char* data, size_t length, size_t* used) except -1:
        cdef bint taken = self._take(data, length, self.held_begun, used)
        return taken if self.input.blocked_reason != BLOCKED_CHOICE else self._take_chosen(data, length, used, 0, 0)

    cdef uint32_t _resume(self, int64_t now_ms, int64_t tick_ms) except? 0:
        cdef uint32_t length, source_bytes
        cdef unsigned char* head
        cdef unsigned char* data
        cdef size_t used
        if self.held == NULL:
            return 0
        self.appender.begin(&self.input, now_ms, tick_ms)
        while self.held_at < self.held_length:
            head = self.held + self.held_at
            length = load_u32(head)
            source_bytes = load_u32(head + 4)
            data = head + HELD_HEAD_BYTES + source_bytes
            if self.udp:
                self._source(head + HELD_HEAD_BYTES, source_bytes)
            used = 0
            if length == 0xFFFFFFFFU:
                self.appender.refuse(&self.input, REJECTED_TRUNCATED, 0)
                length = 0
            elif not self._take_held(data, length, &used):
                # The head moves up in front of what is left of this datagram.
                if used:
                    memmove(head + used, head, HELD_HEAD_BYTES + source_bytes)
                    store_u32(head + used, length - <uint32_t>used)
                    self.held_at += used
                self.held_begun = self.held_begun or used > 0 or self.input.frame.inside
                return self.appender.end()
            self.held_begun = False
            self.held_at += HELD_HEAD_BYTES + source_bytes + length
        free(self.held)
        self.held = NULL
        self.window.account(self.held_length, 0)
        self.held_length = self.held_at = 0
        return self.appender.end()

    def finish(self, int64_t now_ms, int64_t tick_ms) -> int:
        """Counts what is still held as cut: the worker gives it up, for lack of room until the end of its time."""
        self.input.refuse_reason = REJECTED_CUT
        flags = self._resume(now_ms, tick_ms)
        self.input.refuse_reason = 0
        return flags

    @property
    def held_bytes(self) -> int:
        return self.held_length - self.held_at

    @property
    def blocked_reason(self) -> int:
        return self.input.blocked_reason


cdef Datagram datagram_open(Appender appender, Window window, Ring ring, const Listener* listener, int fd, object path, bint udp):
    cdef Datagram datagram = Datagram.__new__(Datagram)
    cdef int on = 1
    cdef uint32_t[9] memory
    cdef uint32_t length = sizeof(memory)
    cdef bytes encoded = path
    datagram.appender = appender
    datagram.window = window
    datagram.ring = ring
    datagram.fd = fd
    datagram.udp = udp
    datagram.input.listener = listener
    datagram.input.datagram = True
    origin_path(&datagram.input.origin, listener, <const unsigned char*>encoded, <uint32_t>len(encoded))
    if udp:
        datagram.input.origin.tail_bytes = 0
        if fd >= 0:
            setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on))
            # What was dropped before we came is in the books of whoever read this socket then.
            if getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &length) == 0 and length >= sizeof(memory):
                datagram.drops_seen = datagram.drops_told = memory[MEMINFO_DROPS]
    return datagram
