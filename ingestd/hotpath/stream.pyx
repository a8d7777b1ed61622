"""One accepted connection, from its socket's bytes to committed records.

The bytes of a read go to the worker's shared window, behind what the stream held; whole records leave from there for the arena. What is
left is either an incomplete unit, or, when the stream is parked, everything behind the place where it stopped. An incomplete unit of
more than 64 KiB is read on in an allocation of its own, which grows by doubling. All of it comes out of a common budget; window.pyx
says who waits when that is used up.
"""

cimport cython
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport abort, free, malloc, realloc
from libc.string cimport memcpy, memmove, memset

from ingestd.hotpath.appender cimport Appender
from ingestd.hotpath.chooser cimport BLOCKED_CHOICE
from ingestd.hotpath.debug cimport allow, forbid
from ingestd.hotpath.frame cimport frames_break, frames_cut, frames_parse
from ingestd.hotpath.input cimport (
    BLOCKED_CONFIRM, BLOCKED_HOLD, BLOCKED_PRESSURE, FLAG_AGAIN, FLAG_BLOCKED, FLAG_BROKEN, FLAG_CONTROL, FLAG_EOF, FLAG_ERRNO,
    FLAG_READ_MORE, FLAG_TOPIC_WAIT, FORMAT_FRAMES, Input, Listener,
)
from ingestd.hotpath.layout cimport REJECTED_CUT, REJECTED_STALLED
from ingestd.hotpath.limits cimport HOLD_BYTES_FREE, HOLD_COPY_BYTES_MAX, TOPIC_IDS_MAX
from ingestd.hotpath.lines cimport lines_parse
from ingestd.hotpath.origin cimport origin_connection, origin_session
from ingestd.hotpath.ranges cimport ranges_free, ranges_take
from ingestd.hotpath.unaligned cimport load_u32
from ingestd.hotpath.window cimport Window


cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT
    ssize_t recv(int fd, void* place, size_t room, int flags) noexcept

cdef enum:
    PARKING = FLAG_CONTROL | FLAG_BLOCKED | FLAG_TOPIC_WAIT
    TYPE_CONFIRM = 4
    FRAME_HEAD_BYTES = 8
    LOOK_AHEAD_BYTES_MAX = 1048576     # searched for a CONFIRM frame before the connection is given up
    TOPIC_ID_UNSET = -2                # an id that was never agreed is an invalid topic


@cython.no_gc_clear      # its end gives back to the window what it holds; see BatchView
cdef class Stream:
    """Made by `Intake.stream`. Owns nothing of the fd's life; see intake.pyi for what callers must do next."""

    def __dealloc__(self):
        if self.window is not None:
            self.window.account(self.held_capacity, 0)
            self.window.leave(&self.waiter)
        free(self.held)
        free(self.input.topics)
        ranges_free(&self.input)

    def read(self, int64_t now_ms, int64_t tick_ms) -> int:
        cdef size_t taken = 0
        return self._read(now_ms, tick_ms, NULL, 0, &taken)

    def feed(self, data: bytes, int64_t now_ms, int64_t tick_ms) -> tuple[int, int]:
        """As `read`, from `data` instead of the socket; b"" is its end. Returns flags and how many bytes were taken."""
        cdef size_t taken = 0
        flags = self._read(now_ms, tick_ms, <const unsigned char*>data, len(data), &taken)
        return flags, taken

    cdef uint32_t _read(self, int64_t now_ms, int64_t tick_ms, const unsigned char* fed, size_t fed_bytes, size_t* taken) except? 0:
        cdef unsigned char* place
        cdef unsigned char* data
        cdef size_t room = 0
        cdef int64_t count
        cdef uint32_t flags
        cdef bint direct
        if self.finished:
            raise ValueError("this stream is finished")
        if self.parked:
            if self.input.blocked_reason == BLOCKED_CONFIRM:
                return self._look_ahead(now_ms, tick_ms, fed, fed_bytes, taken)
            return self._resume(now_ms, tick_ms)
        if self.appender.pressure >= 1 and not self.input.listener.shed:
            return self._not_now(BLOCKED_PRESSURE)
        place = self._room(&room)
        if place == NULL:
            return self._not_now(BLOCKED_HOLD)
        count = self._receive(place, room, fed, fed_bytes, taken)
        if count <= 0:
            return FLAG_EOF if count == 0 else <uint32_t>-count
        self.appender.begin(&self.input, now_ms, tick_ms)
        self.appender.pending.received_bytes += <uint64_t>count
        direct = self.held != NULL and place == self.held + self.held_at + self.held_length
        if direct:
            self.held_length += <size_t>count
            data = self.held + self.held_at
            flags = self._parse(data, self.held_length, False)
        else:
            data = self.window.bytes
            forbid(place + count, self.window.size - <size_t>(place + count - data))
            flags = self._parse(data, <size_t>(place - data) + <size_t>count, False)
            allow(data, self.window.size)
        return flags | (FLAG_READ_MORE if <size_t>count == room else 0)

    # Nothing is read, and nothing of the stream has moved.
    cdef uint32_t _not_now(self, uint32_t reason) noexcept:
        self.input.flags = FLAG_BLOCKED
        self.input.blocked_reason = reason
        return FLAG_BLOCKED

    # Where the next bytes go. NULL: no budget now.
    cdef unsigned char* _room(self, size_t* room) noexcept:
        cdef Window window = self.window
        cdef bint turn = window.first == &self.waiter and window.charged_bytes > window.hold_bytes
        cdef unsigned char* place = self._place(turn, room)
        if turn:
            return place
        if place == NULL:
            return self._place(True, room) if window.turn(&self.waiter) else NULL
        window.leave(&self.waiter)
        return place

    # Behind held bytes, in their own allocation if the unit is long, else in the window. `turn`: whatever the budget says, but no more than
    # the unit needs.
    cdef unsigned char* _place(self, bint turn, size_t* room) noexcept:
        cdef size_t need = self.input.need_bytes
        cdef size_t least = HOLD_BYTES_FREE
        if self.input.listener.format == FORMAT_FRAMES and need > self.held_length:
            least = need - self.held_length
        if need > HOLD_COPY_BYTES_MAX:
            if self.held_length == self.held_capacity:
                if not self._hold_capacity(min(need, max(2 * self.held_length, <size_t>HOLD_BYTES_FREE)), turn):
                    return NULL
            if self.held_at:
                memmove(self.held, self.held + self.held_at, self.held_length)
                self.held_at = 0
            room[0] = min(need, self.held_capacity) - self.held_length
            if turn:
                room[0] = min(room[0], least)
            return self.held + self.held_length
        room[0] = self.window.readable(self.held_capacity, self.held_length, least, turn)
        if room[0] == 0:
            return NULL
        if self.held_length:
            memcpy(self.window.bytes, self.held + self.held_at, self.held_length)
        return self.window.bytes + self.held_length

    # Bytes received, 0 at the end, or minus the flag to return.
    cdef int64_t _receive(self, unsigned char* place, size_t room, const unsigned char* fed, size_t fed_bytes, size_t* taken) noexcept:
        cdef ssize_t count
        if fed != NULL:
            taken[0] = min(room, fed_bytes)
            memcpy(place, fed, taken[0])
            return <int64_t>taken[0]
        while True:
            count = recv(self.fd, place, room, MSG_DONTWAIT)
            if count >= 0:
                return count
            if errno == EINTR:
                continue
            if errno == EAGAIN:
                return -<int64_t>FLAG_AGAIN
            self.error_number = errno
            return -<int64_t>FLAG_ERRNO

    # Parses between begin() and end(), keeps what is left, returns the flags of the read.
    cdef uint32_t _parse(self, const unsigned char* data, size_t length, bint last) except? 0:
        cdef Input* input = &self.input
        cdef size_t used
        if input.listener.format == FORMAT_FRAMES:
            used = self._parse_frames(data, length)
        else:
            used = lines_parse(self.appender, input, data, length, last)
            while input.blocked_reason == BLOCKED_CHOICE:
                self._choose(data + used, length - used, last)
                used += lines_parse(self.appender, input, data + used, length - used, last)
            # How long a line will get is not known: one that has outgrown the window may get as long as the longest.
            input.need_bytes = input.listener.line_bytes_max + 1 if input.scanned_bytes > HOLD_COPY_BYTES_MAX else 0
        self.parked = (input.flags & PARKING) != 0
        if input.flags & FLAG_BROKEN:
            used = length
        self._hold(data + used, length - used)
        self.looked_bytes -= min(self.looked_bytes, used)
        if self.parked and input.blocked_reason == BLOCKED_CONFIRM:
            self._find_confirm()
        return self.appender.end()

    cdef size_t _parse_frames(self, const unsigned char* data, size_t length) except? 0:
        cdef Input* input = &self.input
        cdef const unsigned char* frame
        cdef size_t taken, used = 0
        while True:
            input.control_seen = len(self.control) != 0
            taken = frames_parse(self.appender, input, data + used, length - used)
            # What it takes by itself are RECORDS frames.
            self.records_begun = self.records_begun or taken > 0
            used += taken
            if input.blocked_reason == BLOCKED_CHOICE:
                self._choose(data + used, length - used, False)
                continue
            if not input.control_bytes:
                break
            frame = data + used
            self.control.append((frame[4], frame[5], <bytes>frame[FRAME_HEAD_BYTES:input.control_bytes]))
            used += input.control_bytes
        if self.control:
            input.flags |= FLAG_CONTROL
        return used

    # Partitions for the records ahead that Python chooses them for: at least one is there.
    cdef int _choose(self, const unsigned char* data, size_t length, bint last) except -1:
        self.appender.look_ahead()
        if self.input.listener.format == FORMAT_FRAMES:
            frames_parse(self.appender, &self.input, data, length)
        else:
            lines_parse(self.appender, &self.input, data, length, last)
        self.appender.chooser.gather()
        return self.appender.choose()

    # Keeps data[:length], which lies in the window or in the held bytes themselves.
    cdef void _hold(self, const unsigned char* data, size_t length) noexcept:
        cdef unsigned char* kept = NULL
        if self.held != NULL and self.held <= data <= self.held + self.held_capacity:
            if length == self.held_length or (length and 2 * length >= self.held_capacity):
                self.held_at = data - self.held
                self.held_length = length
                self._keep_turn()
                return
        if length:
            kept = <unsigned char*>malloc(length)
            if kept == NULL:
                abort()
            memcpy(kept, data, length)
        free(self.held)
        self.window.account(self.held_capacity, length)
        self.held = kept
        self.held_at = 0
        self.held_length = self.held_capacity = length
        self._keep_turn()

    # As long as what is held exceeds the budget, and no longer.
    cdef void _keep_turn(self) noexcept:
        if self.waiter.ticket:
            self.waiter.parked = self.parked
            if self.held_capacity <= HOLD_BYTES_FREE or self.window.charged_bytes <= self.window.hold_bytes:
                self.window.leave(&self.waiter)

    # Grows the allocation to `capacity`, if the budget or the turn allows.
    cdef bint _hold_capacity(self, size_t capacity, bint turn) noexcept:
        cdef unsigned char* grown
        if not turn and not self.window.allows(self.held_capacity, capacity):
            return False
        grown = <unsigned char*>realloc(self.held, capacity)
        if grown == NULL:
            return False
        self.window.account(self.held_capacity, capacity)
        self.held = grown
        self.held_capacity = capacity
        return True

    def resume(self, int64_t now_ms, int64_t tick_ms) -> int:
        return self._resume(now_ms, tick_ms)

    cdef uint32_t _resume(self, int64_t now_ms, int64_t tick_ms) except? 0:
        if not self.parked:
            return 0
        self.appender.begin(&self.input, now_ms, tick_ms)
        return self._parse(self.held + self.held_at, self.held_length, False)

    # The session takes no more rejections until its client confirms some, and no CONFIRM frame is held: reads on behind what waits.
    cdef uint32_t _look_ahead(self, int64_t now_ms, int64_t tick_ms, const unsigned char* fed, size_t fed_bytes, size_t* taken) except? 0:
        cdef size_t room
        cdef int64_t count
        if self.held_at:
            memmove(self.held, self.held + self.held_at, self.held_length)
            self.held_at = 0
        room = min(self.window.read_bytes, <size_t>LOOK_AHEAD_BYTES_MAX - min(<size_t>LOOK_AHEAD_BYTES_MAX, self.held_length))
        room = min(room, max(self.held_length, <size_t>HOLD_BYTES_FREE))
        if room == 0 or not self._hold_capacity(max(self.held_capacity, self.held_length + room), False):
            self.appender.begin(&self.input, now_ms, tick_ms)
            frames_break(self.appender, &self.input, REJECTED_STALLED, b"16 rejections are unconfirmed and no CONFIRM frame is in sight")
            self.parked = False
            self._hold(self.held, 0)
            return self.appender.end()
        count = self._receive(self.held + self.held_length, room, fed, fed_bytes, taken)
        if count <= 0:
            return FLAG_BLOCKED | (FLAG_EOF if count == 0 else <uint32_t>-count)
        self.held_length += <size_t>count
        self.appender.begin(&self.input, now_ms, tick_ms)
        self.input.blocked_reason = BLOCKED_CONFIRM
        self.input.flags = FLAG_BLOCKED
        self.appender.pending.received_bytes += <uint64_t>count
        self._find_confirm()
        return self.appender.end()

    # Hands CONFIRM frames among the held bytes out of order, each once: it comes again in its place, where confirming once more does
    # nothing. `looked_bytes` is where a frame begins that was not looked at.
    cdef int _find_confirm(self) except -1:
        cdef const unsigned char* held = self.held + self.held_at
        cdef const unsigned char* frame
        cdef size_t at = max(self.looked_bytes, <size_t>self.input.frame.body_left if self.input.frame.inside else 0)
        while at + FRAME_HEAD_BYTES <= self.held_length:
            frame = held + at
            if frame[4] == TYPE_CONFIRM:
                if at + 4 + load_u32(frame) > self.held_length:
                    break
                self.control.append((TYPE_CONFIRM, frame[5], <bytes>frame[FRAME_HEAD_BYTES:max(FRAME_HEAD_BYTES, load_u32(frame) + 4)]))
                self.input.flags |= FLAG_CONTROL
            at += <size_t>load_u32(frame) + 4
        self.looked_bytes = at
        return 0

    def finish(self, cut: bool, int64_t now_ms, int64_t tick_ms) -> int:
        cdef uint32_t flags = 0
        cdef Input* input = &self.input
        if self.finished:
            return 0
        if self.parked and not cut:
            flags = self._resume(now_ms, tick_ms)
            if self.parked:
                return flags
        self.appender.begin(input, now_ms, tick_ms)
        if cut:
            # Nothing of what is left is accepted, so a session's sequence stays where it is: its client sends it again.
            input.refuse_reason = REJECTED_CUT
            input.session.row = NULL
            input.answers = False
        if cut or input.listener.format != FORMAT_FRAMES:
            flags |= self._parse(self.held + self.held_at, self.held_length, True)
            # What it waits for stands in `input` until the next begin().
            if self.parked and not cut:
                return flags
            self.appender.begin(input, now_ms, tick_ms)
        self.finished = True
        if input.listener.format == FORMAT_FRAMES:
            frames_cut(self.appender, input, self.held_length, REJECTED_CUT)
        self._hold(self.held, 0)
        return flags | self.appender.end()

    def refuse_frame(self, uint32_t reason, int64_t now_ms, int64_t tick_ms) -> None:
        """Counts what the stream holds (a control frame that was not taken, a frame that does not go on) as one rejected frame, and drops it."""
        if not 0 < reason < 32:
            raise ValueError(f"no such reason: {reason}")
        self.appender.begin(&self.input, now_ms, tick_ms)
        frames_break(self.appender, &self.input, reason, b"a frame was refused")
        self.parked = False
        self._hold(self.held, 0)
        self.appender.end()

    def take_control(self) -> list[tuple[int, int, bytes]]:
        taken = self.control
        self.control = []
        return taken

    def take_rejections(self) -> list[tuple[int, int, int]]:
        return ranges_take(&self.input)

    def set_topic_id(self, int topic_id, int topic_index) -> None:
        cdef int32_t* grown
        cdef int32_t index
        if not 0 <= topic_id < TOPIC_IDS_MAX:
            raise ValueError(f"topic id {topic_id} is not in 0..{TOPIC_IDS_MAX - 1}")
        if topic_index >= 0 and (<uint32_t>topic_index >= self.appender.topic_capacity or self.appender.topics[topic_index] == NULL):
            raise ValueError(f"topic {topic_index} is not known to the intake")
        if topic_id >= self.input.topic_count:
            grown = <int32_t*>realloc(self.input.topics, (<size_t>topic_id + 1) * sizeof(int32_t))
            if grown == NULL:
                raise MemoryError
            for index in range(self.input.topic_count, topic_id + 1):
                grown[index] = TOPIC_ID_UNSET
            self.input.topics = grown
            self.input.topic_count = topic_id + 1
        self.input.topics[topic_id] = topic_index

    def set_session(self, int session_index, int answer) -> None:
        cdef Input* input = &self.input
        if session_index >= <int64_t>self.appender.arena.header.session_capacity:
            raise ValueError(f"no session row {session_index}")
        input.answers = answer >= 1
        input.session.fresh_count = 0
        if session_index < 0:
            input.session.row = NULL
            input.session.sequence = input.accepted_sequence = 0
            origin_connection(&input.origin, input.listener, self.number, False)
            return
        input.session.row = &self.appender.arena.sessions[session_index]
        input.session.sequence = input.accepted_sequence = input.session.row.last_accepted
        origin_session(&input.origin, input.listener, <uint32_t>session_index, input.session.row.session_id, answer >= 2)

    @property
    def accepted_sequence(self) -> int:
        return self.input.accepted_sequence

    @property
    def wanted_topic(self) -> int:
        return self.input.wanted_topic if self.input.flags & FLAG_TOPIC_WAIT else -1

    @property
    def blocked_reason(self) -> int:
        return self.input.blocked_reason

    @property
    def held_bytes(self) -> int:
        return self.held_length

    @property
    def hold_ticket(self) -> int:
        return self.waiter.ticket

    @property
    def crowding(self) -> bool:
        return self.held_capacity > HOLD_BYTES_FREE and self.window.short()

    @property
    def awaited(self) -> bool:
        return self.window.first == &self.waiter and self.waiter.next != NULL

    @property
    def error_reason(self) -> int:
        return self.input.broken_reason

    @property
    def error_text(self) -> str:
        return self.input.broken_text.decode() if self.input.broken_text != NULL else ""


cdef Stream stream_open(Appender appender, Window window, const Listener* listener, int fd, uint32_t number):
    cdef Stream stream = Stream.__new__(Stream)
    stream.appender = appender
    stream.window = window
    stream.fd = fd
    stream.number = number
    stream.control = []
    stream.input.listener = listener
    origin_connection(&stream.input.origin, listener, number, False)
    return stream
