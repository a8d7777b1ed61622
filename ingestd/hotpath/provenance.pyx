"""Answers to senders, made from the provenance of a batch: frames of the native protocol, per session and batch; and
which records of a session are still in the arena.

Only sessions that wait for the level "delivered" are named. PROTOCOL.md describes DELIVERED and FAILED and their runs.
"""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, qsort, realloc

from ingestd.hotpath.arena cimport Arena
from ingestd.hotpath.directory cimport state_of
from ingestd.hotpath.layout cimport PROVENANCE_SESSION, STATE_OPEN, STATE_SEALED, STATE_STAMPED
from ingestd.hotpath.walker cimport Walker, walk_gap, walk_next, walk_row

FRAME_DELIVERED = 0x44
FRAME_FAILED = 0x45


cdef bytes number(object value, int size):
    return value.to_bytes(size, "little", signed=value < 0)


cdef bytes text_field(bytes text):
    return number(len(text), 2) + text


cdef bytes run_field(Walker* walker, bint offsets):
    # Gap bytes lie downward in the arena and upward in the frame.
    cdef bytes gaps = b""
    if walker.skipped:
        gaps = (<const unsigned char*>walker.at)[:walker.gaps - walker.at][::-1]
    return number(walker.first_sequence, 8) + number(walker.record_count, 4) + \
        number(walker.first_index if offsets else 0, 4) + number(len(gaps), 4) + gaps


cdef dict whole_runs(Arena arena, object entry, bint offsets):
    # session row -> runs, encoded
    cdef Walker walker
    cdef dict found = {}
    arena.walk(arena._expect(entry, ~1u), &walker)
    while walk_next(&walker):
        if walker.kind == PROVENANCE_SESSION and walker.delivered:
            found.setdefault(walk_row(&walker), []).append(run_field(&walker, offsets))
    return found


cdef dict picked_runs(Arena arena, object entry, object indexes):
    # The same for some of the batch's records only: each is a run of its own.
    cdef Walker walker
    cdef const unsigned char* at
    cdef uint32_t place
    cdef uint64_t gap, sequence
    cdef dict found = {}
    arena.walk(arena._expect(entry, ~1u), &walker)
    while walk_next(&walker):
        if walker.kind != PROVENANCE_SESSION or not walker.delivered:
            continue
        at = walker.gaps
        sequence = walker.first_sequence
        for place in range(walker.record_count):
            if place > 0 and walk_gap(&at, walker.floor, &gap):
                sequence += 1 + gap
            if walker.first_index + place in indexes:
                run = number(sequence, 8) + number(1, 4) + bytes(8)
                found.setdefault(walk_row(&walker), []).append(run)
    return found


cdef list frames(int kind, bytes head, dict found):
    made = []
    for row, runs in found.items():
        body = b"".join([bytes((kind, 0, 0, 0)), head, number(len(runs), 4), *runs])
        made.append((row, number(len(body), 4) + body))
    return made


def delivered_frames(Arena arena not None, entry, bytes topic_name not None, base_offset, log_append_time_ms):
    """One DELIVERED frame per session with records in the batch. To be called before `Arena.done`."""
    cdef object partition = arena.batch(entry).partition
    head = number(partition, 4) + number(base_offset, 8) + number(log_append_time_ms, 8) + text_field(topic_name)
    return frames(FRAME_DELIVERED, head, whole_runs(arena, entry, True))


def failed_frames(Arena arena not None, entry, bytes topic_name not None, reason, error_code, may_have_been_written,
                  bytes text not None, indexes=None):
    """One FAILED frame per session with records in the batch, or among those at `indexes`. To be called before
    `Arena.fail` or `repair`.
    """
    cdef object partition = arena.batch(entry).partition
    head = number(partition, 4) + number(reason, 2) + number(error_code, 2) + \
        bytes((1 if may_have_been_written else 0, 0)) + text_field(topic_name) + text_field(text)
    found = whole_runs(arena, entry, False) if indexes is None else picked_runs(arena, entry, frozenset(indexes))
    return frames(FRAME_FAILED, head, found)


cdef struct Stretch:               # sequences first .. last
    uint64_t first
    uint64_t last


cdef int stretch_order(const void* one, const void* other) noexcept nogil:
    cdef uint64_t first = (<const Stretch*>one).first
    cdef uint64_t second = (<const Stretch*>other).first
    return (first > second) - (first < second)


cdef class SessionScan:
    """Finds the records of a session in one arena. Keeps, per batch that takes no more records, 64 bits that tell most
    sessions apart, so that a batch without the session is passed over the next time.
    """
    cdef Arena arena
    cdef uint64_t* masks           # per entry: a bit per session row, modulo 64
    cdef int64_t* numbers          # per entry: number of the batch that the mask is of; -1: none
    cdef Stretch* stretches
    cdef size_t count
    cdef size_t capacity

    def __cinit__(self, Arena arena not None):
        cdef uint32_t entry
        self.arena = arena
        self.masks = <uint64_t*>calloc(arena.entry_count, sizeof(uint64_t))
        self.numbers = <int64_t*>calloc(arena.entry_count, sizeof(int64_t))
        if self.masks == NULL or self.numbers == NULL:
            raise MemoryError()
        for entry in range(arena.entry_count):
            self.numbers[entry] = -1

    def __dealloc__(self):
        free(self.masks)
        free(self.numbers)
        free(self.stretches)

    def find(self, uint32_t row):
        """(entries, stretches): the batches with committed records of that session row, open ones included, in the
        order of their opening, and the sequences of those records as ranges (first, last), ascending and apart.
        """
        cdef int32_t entry = self.arena.oldest
        cdef size_t index
        cdef list entries = []
        self.count = 0
        while entry >= 0:
            if self._collect(<uint32_t>entry, row):
                entries.append(entry)
            entry = self.arena.newer[entry]
        self._merge()
        found = [(self.stretches[index].first, self.stretches[index].last) for index in range(self.count)]
        # A session may have millions of them, and another one a handful.
        free(self.stretches)
        self.stretches = NULL
        self.count = self.capacity = 0
        return entries, found

    # True if records of the session are in that batch; adds their sequences.
    cdef bint _collect(self, uint32_t entry, uint32_t row) except -1:
        cdef uint32_t state = state_of(&self.arena.directory[entry])
        cdef int64_t number = self.arena.directory[entry].number
        cdef uint64_t mask = 0
        cdef bint found = False
        cdef Walker walker
        if not STATE_OPEN <= state <= STATE_STAMPED:
            return False
        # A repaired batch has lost sessions at most.
        if self.numbers[entry] == number and not self.masks[entry] >> (row & 63) & 1:
            return False
        self.arena.walk(entry, &walker)
        while walk_next(&walker):
            if walker.kind == PROVENANCE_SESSION and walker.delivered:
                mask |= <uint64_t>1 << (walk_row(&walker) & 63)
                if walk_row(&walker) == row:
                    found = True
                    self._add_run(&walker)
        if state >= STATE_SEALED:
            self.masks[entry] = mask
            self.numbers[entry] = number
        return found

    cdef int _add_run(self, const Walker* walker) except -1:
        cdef const unsigned char* at = walker.gaps
        cdef uint64_t first = walker.first_sequence
        cdef uint64_t last = first
        cdef uint64_t gap
        cdef uint32_t place
        if not walker.skipped:
            return self._add(first, first + walker.record_count - 1)
        for place in range(walker.record_count - 1):
            walk_gap(&at, walker.floor, &gap)
            if gap:
                self._add(first, last)
                first = last + 1 + gap
                last = first
            else:
                last += 1
        return self._add(first, last)

    cdef int _add(self, uint64_t first, uint64_t last) except -1:
        cdef Stretch* grown
        cdef size_t capacity
        if self.count and self.stretches[self.count - 1].last + 1 == first:
            self.stretches[self.count - 1].last = last
            return 0
        if self.count == self.capacity:
            # What lies in several partitions is whole again once it is put together; only then is there reason to grow.
            self._merge()
            if self.count * 2 >= self.capacity:
                capacity = max(<size_t>256, self.capacity * 2)
                grown = <Stretch*>realloc(self.stretches, capacity * sizeof(Stretch))
                if grown == NULL:
                    raise MemoryError()
                self.stretches = grown
                self.capacity = capacity
        self.stretches[self.count].first = first
        self.stretches[self.count].last = last
        self.count += 1
        return 0

    cdef void _merge(self) noexcept:
        cdef size_t index
        cdef size_t kept = 0
        if self.count == 0:
            return
        qsort(self.stretches, self.count, sizeof(Stretch), stretch_order)
        for index in range(1, self.count):
            if self.stretches[index].first <= self.stretches[kept].last + 1:
                self.stretches[kept].last = max(self.stretches[kept].last, self.stretches[index].last)
            else:
                kept += 1
                self.stretches[kept] = self.stretches[index]
        self.count = kept + 1
