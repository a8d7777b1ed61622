"""Records of this very process, handed over as objects: into the arena, and from a batch's provenance back to their futures.

They are one session as far as the arena is concerned: each record has a sequence, and the provenance of a batch says which ones it
holds. Nothing is kept per record but the table from sequences to records.
"""

from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint8_t, uint32_t, uint64_t

from ingestd.hotpath.appender cimport Appender, record_prepare
from ingestd.hotpath.arena cimport Arena
from ingestd.hotpath.batch cimport Record
from ingestd.hotpath.handover cimport OUTCOME_DELIVERED, OUTCOME_FAILED, Handover, Outgoing
from ingestd.hotpath.input cimport BLOCKED_NOT, BLOCKED_PARTITION, FLAG_BLOCKED, Input
from ingestd.hotpath.intake cimport Intake
from ingestd.hotpath.layout cimport PROVENANCE_SESSION
from ingestd.hotpath.origin cimport origin_session
from ingestd.hotpath.ranges cimport ranges_free, ranges_take
from ingestd.hotpath.walker cimport Walker, walk_gap, walk_next


cdef class LocalIntake:
    """The listener of this process's own records. Only the thread of the arena may use it."""
    cdef Intake intake             # owns the listener and the topics that `input` points to
    cdef Appender appender
    cdef Handover handover
    cdef Input input
    cdef uint64_t sequence         # of the newest record in the arena
    cdef dict waiting              # sequence -> Outgoing without outcome

    def __init__(self, Intake intake not None, int listener_index, Handover handover not None):
        cdef uint8_t[16] session_id
        cdef int index
        for index in range(16):
            session_id[index] = 0
        self.intake = intake
        self.appender = intake.appender
        self.handover = handover
        self.waiting = {}
        self.input.listener = intake._listener(listener_index)
        self.input.answers = True
        origin_session(&self.input.origin, self.input.listener, 0, session_id, True)

    def __dealloc__(self):
        ranges_free(&self.input)

    def append(self, list records not None, Py_ssize_t at, list parked not None, int64_t now_ms, int64_t tick_ms):
        """Takes `records[at:]` into the arena, in order. Returns (index of the first not taken, flags)."""
        cdef Py_ssize_t count = len(records)
        cdef Py_ssize_t taken_bytes = 0
        cdef Outgoing outgoing
        cdef Record record
        self.appender.begin(&self.input, now_ms, tick_ms)
        record_prepare(&record, self.input.listener)
        while at < count:
            outgoing = <Outgoing?>records[at]
            if not self._offer(outgoing, &record):
                if self.input.blocked_reason != BLOCKED_PARTITION:
                    break
                self.input.flags &= ~<uint32_t>FLAG_BLOCKED
                self.input.blocked_reason = BLOCKED_NOT
                parked.append(outgoing)
            else:
                self.sequence += 1
                self.waiting[self.sequence] = outgoing
                # Its bytes are in the arena.
                outgoing.key = outgoing.value = outgoing.headers = None
            taken_bytes += outgoing.size_bytes
            outgoing.size_bytes = 0
            at += 1
        flags = self.appender.end()
        self.handover.bytes -= taken_bytes
        return at, flags

    cdef bint _offer(self, Outgoing outgoing, Record* record) except -1:
        if not 0 <= outgoing.topic_index < <int32_t>self.appender.topic_capacity or \
                self.appender.topics[outgoing.topic_index] == NULL:
            raise ValueError(f"topic {outgoing.topic} is not known to the intake")
        record.partition = outgoing.partition
        record.timestamp_ms = outgoing.timestamp_ms if outgoing.timestamp_ms >= 0 else INT64_MIN
        record.key = record.value = record.headers_fixed = NULL
        record.key_bytes = record.value_bytes = record.headers_fixed_bytes = 0
        if outgoing.key is not None:
            record.key = <const unsigned char*>outgoing.key
            record.key_bytes = <uint32_t>len(outgoing.key)
        if outgoing.value is not None:
            record.value = <const unsigned char*>outgoing.value
            record.value_bytes = <uint32_t>len(outgoing.value)
        record.headers_fixed_count = outgoing.header_count
        if outgoing.headers is not None:
            record.headers_fixed = <const unsigned char*>outgoing.headers
            record.headers_fixed_bytes = <uint32_t>len(outgoing.headers)
        return self.appender.offer(&self.input, self.appender.topics[outgoing.topic_index], record, self.sequence + 1)

    def take_refused(self):
        """What the last `append` refused: (record, reason), to be failed by `fail`."""
        refused = []
        for first, count, reason in ranges_take(&self.input):
            for sequence in range(first, first + count):
                refused.append((self.waiting.pop(sequence), reason))
        return refused

    def fail(self, list records not None, error):
        """For records that are in no batch. Returns those that somebody waits for."""
        cdef Outgoing outgoing
        return [outgoing for outgoing in records if self.handover.settle(outgoing, OUTCOME_FAILED, error)]

    def delivered(self, Arena arena not None, entry, int32_t partition, int64_t base_offset, int64_t log_append_time_ms):
        """The batch is in the log. Returns those of its records that somebody waits for, in their order."""
        cdef Outgoing outgoing
        cdef int64_t offset = base_offset
        attended = []
        for outgoing in self._records(arena, entry, None):
            outgoing.partition = partition
            if log_append_time_ms >= 0:
                outgoing.timestamp_ms = log_append_time_ms
            outgoing.offset = offset
            offset += base_offset >= 0
            if self.handover.settle(outgoing, OUTCOME_DELIVERED, None):
                attended.append(outgoing)
        return attended

    def failed(self, Arena arena not None, entry, error, indexes=None):
        """The batch is given up, or its records at `indexes`. Returns those that somebody waits for, in their order."""
        return self.fail(self._records(arena, entry, indexes), error)

    def abandon(self, error):
        """All that is left fails. Returns those that somebody waits for."""
        left = list(self.waiting.values())
        self.waiting.clear()
        return self.fail(left, error)

    # Takes the records of a batch out of the table, in their order; None is none of ours (it had its outcome).
    cdef list _records(self, Arena arena, object entry, object indexes):
        cdef Walker walker
        cdef const unsigned char* at
        cdef uint32_t place
        cdef uint64_t gap, sequence
        cdef list found = []
        arena.walk(arena._expect(entry, ~1u), &walker)
        while walk_next(&walker):
            if walker.kind != PROVENANCE_SESSION:
                continue
            at = walker.gaps
            sequence = walker.first_sequence
            for place in range(walker.record_count):
                if place > 0 and walk_gap(&at, walker.floor, &gap):
                    sequence += 1 + gap
                if indexes is None or walker.first_index + place in indexes:
                    outgoing = self.waiting.pop(sequence, None)
                    if outgoing is not None:
                        found.append(outgoing)
        return found

    @property
    def blocked_reason(self):
        """What the last `append` stopped for: BLOCKED_BY_ARENA; 0 if it took all."""
        return self.input.blocked_reason
