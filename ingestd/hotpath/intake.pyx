"""The intake of a worker: makes streams and datagram sockets whose records end up in the arena. See intake.pyi for how to use it."""

import os
import socket
from array import array

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove

from ingestd.hotpath.appender cimport Appender
from ingestd.hotpath.arena cimport Arena
from ingestd.hotpath.chooser cimport Chooser
from ingestd.hotpath.datagram cimport Ring, datagram_open
from ingestd.hotpath.input cimport (
    BLOCKED_ARENA, BLOCKED_CONFIRM, BLOCKED_HOLD, BLOCKED_PARTITION, BLOCKED_PRESSURE, FLAG_ACCEPTED, FLAG_AGAIN, FLAG_BLOCKED,
    FLAG_BROKEN, FLAG_CONTROL, FLAG_EOF, FLAG_ERRNO, FLAG_OPENED, FLAG_READ_MORE, FLAG_REJECTED, FLAG_SEALED, FLAG_TOPIC_WAIT,
    FORMAT_FRAMES, FORMAT_LINES, FORMAT_RAW, KEY_FIELD, KEY_NONE, KEY_SENDER, Listener, Slot, Topic,
)
from ingestd.hotpath.layout cimport PAGE_BYTES
from ingestd.hotpath.limits cimport (
    FRAME_BYTES_MAX, HEADERS_MAX, LINE_BYTES_MAX, LISTENERS_MAX, RECORD_WIRE_OVERHEAD, RUN_BYTES_FIRST, TOPIC_BYTES_MAX,
)
from ingestd.hotpath.partition cimport (
    PARTITIONER_CRC32, PARTITIONER_MURMUR2, PARTITIONER_PYTHON, PARTITIONER_ROUND_ROBIN, PARTITIONER_STICKY, weigh,
)
from ingestd.hotpath.publisher cimport Publisher
from ingestd.hotpath.stream cimport stream_open
from ingestd.hotpath.window cimport Window

from ingestd.hotpath.datagram import Datagram
from ingestd.hotpath.listener_spec import ListenerSpec
from ingestd.hotpath.stream import Stream

cdef enum:
    COMPANIONS_MAX = 128               # batches that are sealed before their time, at once: the event loop has others to serve

READ_MORE = FLAG_READ_MORE
SEALED = FLAG_SEALED
OPENED = FLAG_OPENED
ACCEPTED = FLAG_ACCEPTED
REJECTED = FLAG_REJECTED
CONTROL = FLAG_CONTROL
BLOCKED = FLAG_BLOCKED
TOPIC_WAIT = FLAG_TOPIC_WAIT
EOF = FLAG_EOF
BROKEN = FLAG_BROKEN
ERRNO = FLAG_ERRNO
AGAIN = FLAG_AGAIN

BLOCKED_BY_ARENA = BLOCKED_ARENA
BLOCKED_BY_PARTITION = BLOCKED_PARTITION
BLOCKED_BY_CONFIRM = BLOCKED_CONFIRM
BLOCKED_BY_HOLD = BLOCKED_HOLD
BLOCKED_BY_PRESSURE = BLOCKED_PRESSURE

PARTITIONERS = {
    "murmur2": PARTITIONER_MURMUR2, "crc32": PARTITIONER_CRC32, "sticky": PARTITIONER_STICKY, "round_robin": PARTITIONER_ROUND_ROBIN,
}

FORMATS = {"raw": FORMAT_RAW, "lines": FORMAT_LINES, "frames": FORMAT_FRAMES}


cdef int grow_numbers(uint32_t** numbers, uint32_t count) except -1:
    cdef uint32_t* grown = <uint32_t*>realloc(numbers[0], count * sizeof(uint32_t))
    if grown == NULL:
        raise MemoryError
    numbers[0] = grown
    return 0


cdef class Intake:

    def __init__(self, Arena arena not None, row: memoryview | None, *, size_t window_bytes=262144, size_t hold_bytes=16 << 20,
                 uint64_t seed) -> None:
        self.publisher = Publisher(arena, row)
        self.window = Window(window_bytes, hold_bytes)
        self.appender = Appender.__new__(Appender)
        self.appender.arena = arena
        self.appender.publisher = self.publisher
        self.appender.chooser = Chooser()
        # xorshift stands still at 0.
        self.appender.random_state = seed | 1

    def __dealloc__(self):
        cdef uint32_t index
        for index in range(LISTENERS_MAX):
            if self.listeners[index] != NULL:
                free(self.listeners[index].headers)
                free(self.listeners[index].topics)
                free(self.listeners[index])

    def add_topic(self, int topic_index, *, uint32_t batch_bytes, int64_t linger_ms, uint32_t record_bytes_max, partitioner="murmur2") -> None:
        cdef Appender appender = self.appender
        cdef Topic** grown
        cdef Topic* topic
        cdef uint32_t capacity = <uint32_t>topic_index + 1
        names = {row.index: row.name.encode() for row in appender.arena.topics()}
        if topic_index not in names:
            raise ValueError(f"topic {topic_index} is not in the arena's topic table")
        if <uint32_t>topic_index < appender.topic_capacity and appender.topics[topic_index] != NULL:
            raise ValueError(f"topic {topic_index} has been added already")
        if capacity > appender.topic_capacity:
            grown = <Topic**>realloc(appender.topics, capacity * sizeof(Topic*))
            if grown == NULL:
                raise MemoryError
            appender.topics = grown
            while appender.topic_capacity < capacity:
                grown[appender.topic_capacity] = NULL
                appender.topic_capacity += 1
        topic = <Topic*>calloc(1, sizeof(Topic))
        if topic == NULL:
            raise MemoryError
        topic.index = <uint32_t>topic_index
        topic.batch_bytes = batch_bytes
        topic.linger_ms = linger_ms
        topic.record_bytes_max = record_bytes_max
        topic.partitioner = PARTITIONER_PYTHON if callable(partitioner) else PARTITIONERS[partitioner]
        name = names[topic_index]
        topic.name_bytes = <uint32_t>min(len(name), TOPIC_BYTES_MAX)
        memcpy(topic.name, <const unsigned char*>name, topic.name_bytes)
        appender.topics[topic_index] = topic
        if topic.partitioner == PARTITIONER_PYTHON:
            appender.chooser.add_hook(topic_index, partitioner)

    def set_partitions(self, int topic_index, leaders: bytes) -> None:
        cdef Topic* topic = self._topic(topic_index)
        cdef uint32_t count = <uint32_t>len(leaders)
        cdef Slot** slots
        cdef Slot* slot
        cdef uint32_t index
        # Where a first batch of every partition would not fit into half of the arena, batches begin small.
        topic.run_bytes_least = min(RUN_BYTES_FIRST, topic.batch_bytes)
        if count:
            topic.run_bytes_least = min(topic.run_bytes_least, <uint32_t>(self.appender.arena.intake_pages * <uint64_t>PAGE_BYTES // 2 // count))
        topic.run_bytes_least = max(topic.run_bytes_least, PAGE_BYTES)
        if count > topic.slot_count:
            grow_numbers(&topic.partitions.available, count)
            grow_numbers(&topic.partitions.weighted, count)
            grow_numbers(&topic.partitions.cumulative, count)
            slots = <Slot**>realloc(topic.slots, count * sizeof(Slot*))
            if slots == NULL:
                raise MemoryError
            topic.slots = slots
            while topic.slot_count < count:
                slot = <Slot*>calloc(1, sizeof(Slot))
                if slot == NULL:
                    raise MemoryError
                slot.topic = topic
                slot.partition = topic.slot_count
                slot.run_bytes = topic.run_bytes_least
                slot.batch.entry = -1
                topic.slots[topic.slot_count] = slot
                topic.slot_count += 1
        # A topic that was made anew may have fewer: nothing may stay open in what is gone.
        for index in range(count, topic.slot_count):
            if topic.slots[index].batch.entry >= 0:
                self.appender.seal(topic.slots[index])
        for index in range(count):
            topic.slots[index].leader = leaders[index] != 0
        topic.partitions.count = count
        topic.direct_count = 0 if topic.partitioner == PARTITIONER_PYTHON else count
        topic.partitions.modulo_factor = <uint64_t>0xFFFFFFFFFFFFFFFFULL // count + 1 if count else 0
        if topic.sticky.partition >= count:
            topic.sticky.chosen = False
        self._choose_available(topic)

    cdef int _choose_available(self, Topic* topic) except -1:
        cdef uint32_t index
        # Weights are of the partitions that were available: until they come anew all are as good.
        topic.partitions.weighted_count = 0
        topic.partitions.available_count = 0
        for index in range(topic.partitions.count):
            if topic.slots[index].leader and not topic.slots[index].held:
                topic.partitions.available[topic.partitions.available_count] = index
                topic.partitions.available_count += 1
        return 0

    # As `_choose_available` where one partition has changed: thousands of them may be held or let go in a row.
    cdef int _place_available(self, Topic* topic, uint32_t partition) except -1:
        cdef uint32_t* available = topic.partitions.available
        cdef uint32_t middle, low = 0, high = topic.partitions.available_count
        cdef bint wanted = partition < topic.partitions.count and topic.slots[partition].leader and not topic.slots[partition].held
        cdef bint present
        topic.partitions.weighted_count = 0
        while low < high:
            middle = (low + high) // 2
            if available[middle] < partition:
                low = middle + 1
            else:
                high = middle
        present = low < topic.partitions.available_count and available[low] == partition
        if wanted and not present:
            memmove(available + low + 1, available + low, (topic.partitions.available_count - low) * sizeof(uint32_t))
            available[low] = partition
            topic.partitions.available_count += 1
        elif present and not wanted:
            memmove(available + low, available + low + 1, (topic.partitions.available_count - low - 1) * sizeof(uint32_t))
            topic.partitions.available_count -= 1
        return 0

    def shrink_batches(self, int topic_index, uint32_t batch_bytes) -> bool:
        cdef Topic* topic = self._topic(topic_index)
        if batch_bytes >= topic.batch_bytes:
            return False
        topic.batch_bytes = max(batch_bytes, <uint32_t>1)
        return True

    def weigh(self, int topic_index, queue_lengths: array | None) -> None:
        cdef Topic* topic = self._topic(topic_index)
        cdef const int32_t[::1] lengths = queue_lengths
        if lengths is None or <uint32_t>lengths.shape[0] != topic.partitions.count or not topic.partitions.count:
            topic.partitions.weighted_count = 0
        else:
            weigh(&topic.partitions, &lengths[0])

    def draws(self, int topic_index) -> int:
        return self._topic(topic_index).sticky.draws

    def set_topic_refused(self, int topic_index, refused: bool) -> None:
        self._topic(topic_index).refused = refused

    def hold(self, int topic_index, int partition, held: bool) -> None:
        cdef Topic* topic = self._topic(topic_index)
        if not 0 <= partition < <int>topic.slot_count:
            raise ValueError(f"topic {topic_index} has no partition {partition}")
        topic.slots[partition].held = held
        self._place_available(topic, <uint32_t>partition)

    def let_grow(self, int topic_index, int partition, growing: bool) -> None:
        cdef Topic* topic = self._topic(topic_index)
        if 0 <= partition < <int>topic.slot_count:
            topic.slots[partition].growing = growing

    cdef Topic* _topic(self, int topic_index) except NULL:
        if not 0 <= topic_index < <int>self.appender.topic_capacity or self.appender.topics[topic_index] == NULL:
            raise ValueError(f"topic {topic_index} is not known to the intake")
        return self.appender.topics[topic_index]

    def add_listener(self, spec: ListenerSpec) -> None:
        cdef Listener* listener
        cdef uint32_t index
        if not 0 <= spec.index < LISTENERS_MAX or self.listeners[spec.index] != NULL:
            raise ValueError(f"listener {spec.index} is out of range or has been added already")
        if spec.key == KEY_FIELD and (spec.key_field < 1 or len(spec.key_delimiter) != 1):
            raise ValueError("a key field is counted from 1 and has a delimiter of one byte")
        if spec.topic < 0 and spec.format != "frames":
            raise ValueError(f"records of format {spec.format} do not name their topic")
        if spec.header_count > HEADERS_MAX:
            raise ValueError(f"a record has at most {HEADERS_MAX} headers")
        allowed = ((spec.topic,) if spec.topic >= 0 else ()) + tuple(spec.topics)
        for topic in allowed:
            self._topic(topic)
        listener = <Listener*>calloc(1, sizeof(Listener))
        if listener == NULL:
            raise MemoryError
        self.listeners[spec.index] = listener
        listener.index = <uint8_t>spec.index
        listener.format = FORMATS[spec.format]
        listener.key_kind = <uint8_t>spec.key
        listener.key_field = <uint32_t>spec.key_field
        listener.key_delimiter = spec.key_delimiter[0] if spec.key_delimiter else 0
        listener.timestamp_of_record = spec.timestamp == 1
        listener.timestamp_refuse = spec.timestamp_refuse
        listener.timestamp_past_ms = spec.timestamp_past_ms
        listener.timestamp_future_ms = spec.timestamp_future_ms
        listener.shed = spec.shed
        listener.record_bytes_max = <uint32_t>spec.record_bytes_max
        listener.line_bytes_max = min(<uint32_t>LINE_BYTES_MAX, listener.record_bytes_max)
        # A budget that the longest unit does not fit would hold its sender up for ever.
        longest = listener.line_bytes_max + 1
        if spec.format == "frames":
            longest = min(<uint64_t>listener.record_bytes_max + RECORD_WIRE_OVERHEAD, <uint64_t>FRAME_BYTES_MAX) + 4
        self.window.hold_bytes = max(self.window.hold_bytes, <size_t>longest)
        listener.topic = self._topic(spec.topic) if spec.topic >= 0 else NULL
        listener.topics = <Topic**>malloc(max(1, len(allowed)) * sizeof(Topic*))
        listener.headers = <unsigned char*>malloc(max(1, len(spec.headers)))
        if listener.topics == NULL or listener.headers == NULL:
            raise MemoryError
        for index in range(len(allowed)):
            listener.topics[index] = self._topic(allowed[index])
        listener.topic_count = <uint32_t>len(allowed)
        memcpy(listener.headers, <const unsigned char*>spec.headers, len(spec.headers))
        listener.headers_bytes = <uint32_t>len(spec.headers)
        listener.headers_count = <uint32_t>spec.header_count

    cdef Listener* _listener(self, int listener_index) except NULL:
        if not 0 <= listener_index < LISTENERS_MAX or self.listeners[listener_index] == NULL:
            raise ValueError(f"listener {listener_index} is not known to the intake")
        return self.listeners[listener_index]

    def stream(self, int fd, int listener_index, uint32_t sender) -> Stream:
        cdef Listener* listener = self._listener(listener_index)
        if listener.format == FORMAT_RAW:
            raise ValueError("a stream has no raw format: nothing in it tells where a record ends")
        stream = stream_open(self.appender, self.window, listener, fd, sender)
        stream.intake = self
        return stream

    def datagram(self, int fd, int listener_index) -> Datagram:
        path = b""
        udp = False
        if fd >= 0:
            with socket.socket(fileno=os.dup(fd)) as bound:
                udp = bound.family != socket.AF_UNIX
                if not udp:
                    name = bound.getsockname()
                    path = name if isinstance(name, bytes) else name.encode(errors="surrogateescape")
        return self._datagram(fd, listener_index, path, udp)

    def datagram_fed(self, int listener_index, path: bytes, udp: bool) -> Datagram:
        """A datagram socket without a socket, for `Datagram.feed`."""
        return self._datagram(-1, listener_index, path, udp)

    def _datagram(self, int fd, int listener_index, path: bytes, udp: bool) -> Datagram:
        if self.ring is None:
            self.ring = Ring()
        datagram = datagram_open(self.appender, self.window, self.ring, self._listener(listener_index), fd, path, udp)
        datagram.intake = self
        return datagram

    def seal_due(self, int64_t tick_ms) -> int:
        cdef Appender appender = self.appender
        cdef Topic* topic
        cdef Slot* slot
        cdef Slot* following
        cdef uint32_t index
        cdef int64_t left_ms, next_ms = -1
        cdef uint32_t companions = COMPANIONS_MAX if self._any_due(tick_ms) else 0
        for index in range(appender.topic_capacity):
            topic = appender.topics[index]
            if topic == NULL:
                continue
            slot = topic.open_first
            while slot != NULL:
                following = slot.open_next
                if not slot.growing:
                    left_ms = slot.batch.opened_tick_ms + topic.linger_ms - tick_ms
                    if left_ms > 0:
                        if companions == 0 or left_ms > topic.linger_ms // 2:
                            next_ms = left_ms if next_ms < 0 else min(next_ms, left_ms)
                            break
                        companions -= 1
                    appender.seal(slot)
                slot = following
        return next_ms

    cdef bint _any_due(self, int64_t tick_ms):
        cdef Topic* topic
        cdef Slot* slot
        cdef uint32_t index
        for index in range(self.appender.topic_capacity):
            topic = self.appender.topics[index]
            slot = topic.open_first if topic != NULL else NULL
            while slot != NULL and slot.growing:
                slot = slot.open_next
            if slot != NULL and slot.batch.opened_tick_ms + topic.linger_ms <= tick_ms:
                return True
        return False

    def seal_all(self) -> None:
        cdef uint32_t index
        for index in range(self.appender.topic_capacity):
            if self.appender.topics[index] != NULL:
                self.appender.seal_topic(self.appender.topics[index])

    def seal_batches(self, entries) -> int:
        cdef Slot* slot
        cdef Slot* following
        cdef uint32_t index
        wanted = frozenset(entries)
        count = 0
        for index in range(self.appender.topic_capacity):
            slot = self.appender.topics[index].open_first if self.appender.topics[index] != NULL else NULL
            while slot != NULL:
                following = slot.open_next
                if slot.batch.entry in wanted:
                    self.appender.seal(slot)
                    count += 1
                slot = following
        return count

    def set_pressure(self, int value) -> None:
        self.appender.pressure = value

    def publish(self, in_doubt_batches: int = 0) -> None:
        self.publisher.sum_up(in_doubt_batches)

    def attach(self, Arena arena not None) -> None:
        self.publisher.attach(arena)

    def detach(self, Arena arena not None) -> None:
        self.publisher.detach(arena)

    @property
    def hold_turn(self) -> int:
        self.window.pass_on()
        return self.window.first.ticket if self.window.first != NULL else 0

    @property
    def held_bytes(self) -> int:
        return self.window.held_bytes
