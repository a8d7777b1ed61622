"""Appends records to open batches in the arena and commits what a read brought.

One record's way: `offer` → `_take` (partition) → `_write` (encode at the batch's front, provenance at its back). Nothing of it counts
before `commit`, which puts the commit words of all touched batches, the session's last sequence and the ledger into one intent.
"""

from cython cimport final
from libc.stdint cimport INT64_MIN, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from ingestd.hotpath.arena cimport Arena
from ingestd.hotpath.batch cimport Record, record_fixed_bytes, record_write
from ingestd.hotpath.chooser cimport BLOCKED_CHOICE, CHOICE_FAILED, CHOSEN, LOOKING_AHEAD, NOT_CHOSEN, Chooser
from ingestd.hotpath.directory cimport OPENED, OpenBatch
from ingestd.hotpath.debug cimport invariant
from ingestd.hotpath.input cimport (
    BLOCKED_ARENA, BLOCKED_CONFIRM, BLOCKED_NOT, BLOCKED_PARTITION, FLAG_ACCEPTED, FLAG_BLOCKED, FLAG_OPENED, FLAG_REJECTED,
    FLAG_SEALED, FLAG_TOPIC_WAIT, Input, Listener, Origin, SessionCursor, Slot, Topic,
)
from ingestd.hotpath.layout cimport (
    BATCH_HEADER_BYTES, BATCH_NUMBERS, LEDGER_ACCEPTED, LEDGER_ACCEPTED_BYTES, LEDGER_KERNEL_DROPPED, LEDGER_RECEIVED, LEDGER_RECEIVED_BYTES,
    LEDGER_REJECTED, LEDGER_REPEATED, LEDGER_TIMESTAMPS_REPLACED, PAGE_BYTES, REJECTED_INVALID_PARTITION, REJECTED_PARTITIONER_FAILED, REJECTED_PARTITION_SHARE, REJECTED_RECORD_TOO_LARGE,
    REJECTED_SHED, REJECTED_TIMESTAMP_OUT_OF_BOUNDS, REJECTED_TOPIC_UNKNOWN, SESSION_REJECTIONS_MAX,
)
from ingestd.hotpath.partition cimport (
    PARTITIONER_CRC32, PARTITIONER_MURMUR2, PARTITIONER_PYTHON, PARTITIONER_ROUND_ROBIN, keyed, keyed_by_crc32, rotated, sticky_draw,
)
from ingestd.hotpath.ranges cimport ranges_add
from ingestd.hotpath.unaligned cimport load_u32, store_u32, store_u64
from ingestd.hotpath.varint cimport varint_bytes, varint_put_down, zigzag


cdef void record_prepare(Record* record, const Listener* listener) noexcept nogil:
    memset(record, 0, sizeof(Record))
    record.partition = -1
    record.timestamp_ms = INT64_MIN
    record.headers_fixed = listener.headers
    record.headers_fixed_bytes = listener.headers_bytes
    record.headers_fixed_count = listener.headers_count


@final
cdef class Appender:

    def __dealloc__(self):
        cdef uint32_t index, partition
        cdef Topic* topic
        for index in range(self.topic_capacity):
            topic = self.topics[index]
            if topic == NULL:
                continue
            for partition in range(topic.slot_count):
                free(topic.slots[partition])
            free(topic.slots)
            free(topic.partitions.available)
            free(topic.partitions.weighted)
            free(topic.partitions.cumulative)
            free(topic)
        free(self.topics)

    cdef void begin(self, Input* input, int64_t now_ms, int64_t tick_ms) noexcept nogil:
        self.input = input
        self.now_ms = now_ms
        self.tick_ms = tick_ms
        self.flags = 0
        input.flags = 0
        input.blocked_reason = BLOCKED_NOT

    cdef uint32_t end(self) noexcept nogil:
        cdef uint32_t flags = self.input.flags
        self.commit()
        if self.input.refuse_reason == CHOSEN:
            self.input.refuse_reason = 0
        self.input.accepted_sequence = self.input.session.sequence
        self.input = NULL
        self.publisher.publish()
        return flags | self.flags

    cdef bint offer(self, Input* input, Topic* topic, Record* record, uint64_t sequence) noexcept nogil:
        cdef uint64_t fixed_bytes, bytes_max
        cdef int verdict
        if input.refuse_reason or topic.direct_count == 0:
            verdict = self._offer_otherwise(input, topic, record, sequence)
            if verdict != GO_ON:
                return verdict
        record.timestamp_replaced = 0
        if record.timestamp_ms == INT64_MIN:
            record.timestamp_ms = self.now_ms
        elif not self._bound_timestamp(input, record):
            return self.refuse(input, REJECTED_TIMESTAMP_OUT_OF_BOUNDS, sequence)
        fixed_bytes = record_fixed_bytes(record)
        # A batch that holds this record only must not be larger: that is what the broker compares with max.message.bytes. Both deltas are
        # one byte there; the record's own length takes five bytes at most, which spares most records the exact sum.
        bytes_max = min(topic.record_bytes_max, input.listener.record_bytes_max)
        if fixed_bytes + BATCH_HEADER_BYTES + 7 > bytes_max:
            if fixed_bytes + BATCH_HEADER_BYTES + 2 + varint_bytes((fixed_bytes + 2) << 1) > bytes_max:
                return self.refuse(input, REJECTED_RECORD_TOO_LARGE, sequence)
        return self._take(input, topic, record, sequence, fixed_bytes)

    # What is not simply taken: all is refused, the count is not known, or Python chooses the partition, which then stands in the record.
    cdef int _offer_otherwise(self, Input* input, Topic* topic, Record* record, uint64_t sequence) noexcept nogil:
        cdef bint python = topic.partitioner == PARTITIONER_PYTHON and record.partition < 0 and topic.partitions.count != 0
        if input.refuse_reason == LOOKING_AHEAD:
            input.session.sequence = sequence
            if not python or self.chooser.note(topic, record):
                return True
            input.flags |= FLAG_BLOCKED
            return False
        if input.refuse_reason and input.refuse_reason != CHOSEN:
            return self.refuse(input, input.refuse_reason, sequence)
        if topic.partitions.count == 0:
            return self._without_count(input, topic, sequence)
        if not python:
            return GO_ON
        record.partition = self.chooser.take(topic, record) if input.refuse_reason == CHOSEN else NOT_CHOSEN
        if record.partition == NOT_CHOSEN:
            input.flags |= FLAG_BLOCKED
            input.blocked_reason = BLOCKED_CHOICE
            return False
        if record.partition == CHOICE_FAILED:
            return self.refuse(input, REJECTED_PARTITIONER_FAILED, sequence)
        return GO_ON

    cdef void look_ahead(self):
        self.input.flags &= ~<uint32_t>FLAG_BLOCKED
        self.input.blocked_reason = BLOCKED_NOT
        self.input_before = self.input[0]
        self.pending_before = self.pending
        self.input.refuse_reason = LOOKING_AHEAD
        self.chooser.clear()

    cdef int choose(self) except -1:
        self.input[0] = self.input_before
        self.pending = self.pending_before
        self.input.refuse_reason = CHOSEN
        return self.chooser.choose()

    cdef bint _take(self, Input* input, Topic* topic, Record* record, uint64_t sequence, uint64_t fixed_bytes) noexcept nogil:
        cdef Slot* slot
        cdef bint sticky = False
        cdef bint rotating = False
        cdef uint32_t blocked, before
        if record.partition >= 0:
            if <uint32_t>record.partition >= topic.partitions.count:
                return self.refuse(input, REJECTED_INVALID_PARTITION, sequence)
            slot = topic.slots[record.partition]
        elif record.key != NULL and topic.partitioner == PARTITIONER_MURMUR2:
            slot = topic.slots[keyed(&topic.partitions, record.key, record.key_bytes)]
        elif record.key != NULL and topic.partitioner == PARTITIONER_CRC32 and record.key_bytes:
            slot = topic.slots[keyed_by_crc32(&topic.partitions, record.key, record.key_bytes)]
        elif topic.partitioner == PARTITIONER_ROUND_ROBIN:
            rotating = True
            slot = topic.slots[rotated(&topic.partitions, topic.rotation)]
        else:
            sticky = True
            if not topic.sticky.chosen:
                sticky_draw(&topic.sticky, &topic.partitions, &self.random_state)
            slot = topic.slots[topic.sticky.partition]
        while True:
            if slot.batch.entry < 0:
                # KIP-794: having given a partition its batch.size, go on elsewhere once its batch is full or has lingered out.
                if sticky and ((slot.held and topic.partitions.available_count) or topic.sticky.produced_bytes >= topic.batch_bytes > 0):
                    sticky_draw(&topic.sticky, &topic.partitions, &self.random_state)
                    slot = topic.slots[topic.sticky.partition]
                    continue
                blocked = self._open(slot, &input.origin, fixed_bytes)
                if blocked:
                    return self._wait(input, blocked, sequence)
                if sticky:
                    topic.sticky.produced_bytes += BATCH_HEADER_BYTES
            before = slot.batch.front
            if self._write(slot, &input.origin, record, sequence, fixed_bytes):
                break
            slot.run_bytes = max(min(slot.run_bytes * 2, topic.batch_bytes), PAGE_BYTES)
            self.seal(slot)
        if sticky:
            topic.sticky.produced_bytes += slot.batch.front - before
            if topic.sticky.produced_bytes >= topic.batch_bytes:
                if slot.batch.front >= topic.batch_bytes or topic.sticky.produced_bytes >= 2 * <uint64_t>topic.batch_bytes:
                    topic.sticky.chosen = False
        elif rotating:
            topic.rotation += 1
        self.pending.accepted += 1
        self.pending.timestamps_replaced += record.timestamp_replaced
        self.pending.accepted_bytes += slot.batch.front - before
        input.flags |= FLAG_ACCEPTED
        input.session.sequence = sequence
        return True

    # Encodes the record if it fits the open batch. A batch always takes its first record: it was opened with room for it.
    cdef bint _write(self, Slot* slot, const Origin* origin, Record* record, uint64_t sequence, uint64_t fixed_bytes) noexcept nogil:
        cdef OpenBatch* batch = &slot.batch
        cdef uint64_t delta = zigzag(record.timestamp_ms - batch.base_timestamp_ms) if batch.record_count else 0
        cdef uint32_t body_bytes = <uint32_t>fixed_bytes + varint_bytes(delta) + varint_bytes(<uint64_t>batch.record_count << 1)
        cdef uint32_t front = batch.front + varint_bytes(<uint64_t>body_bytes << 1) + body_bytes
        cdef unsigned char* back = batch.start + batch.back
        cdef unsigned char* behind
        cdef bint goes_on = slot.origin_tag == origin.tag and (not origin.has_sequence or sequence > slot.last_sequence)
        cdef uint32_t back_bytes = origin.head_bytes
        cdef uint64_t gap = 0
        if goes_on:
            back_bytes = 0
            if origin.has_sequence:
                gap = sequence - slot.last_sequence - 1
                back_bytes = varint_bytes(gap)
        if <uint64_t>front + back_bytes > batch.back or (front > slot.topic.batch_bytes and batch.record_count) \
                or batch.record_count >= BATCH_NUMBERS:  # each record has a number, should the batch be split
            return False
        if not batch.touched:
            if self.touched_count == TOUCHED_MAX:
                self.commit()
            batch.touched = True
            self.touched[self.touched_count] = slot
            self.touched_count += 1
        if goes_on:
            if origin.has_sequence:
                back = varint_put_down(back, gap)
            store_u32(batch.start + batch.last_run, load_u32(batch.start + batch.last_run) + 1)
        else:
            back -= origin.tail_bytes
            memcpy(back, origin.tail, origin.tail_bytes)
            if origin.has_sequence:
                back -= 8
                store_u64(back, sequence)
            back -= 4
            store_u32(back, 1)
            batch.last_run = <uint32_t>(back - batch.start)
            slot.origin_tag = origin.tag
        batch.back = <uint32_t>(back - batch.start)
        slot.last_sequence = sequence
        behind = record_write(batch.start + batch.front, record, body_bytes, delta, batch.record_count)
        batch.front = front
        # What was promised was written, and the cursors have not crossed.
        invariant(behind == batch.start + front and front <= batch.back <= batch.run_bytes and batch.committed_front <= front)
        if batch.record_count == 0:
            batch.base_timestamp_ms = record.timestamp_ms
            batch.max_timestamp_ms = record.timestamp_ms
        elif record.timestamp_ms > batch.max_timestamp_ms:
            batch.max_timestamp_ms = record.timestamp_ms
        batch.record_count += 1
        return True

    # Opens a batch with room for this record at least. Returns what to wait for, 0: opened.
    cdef uint32_t _open(self, Slot* slot, const Origin* origin, uint64_t fixed_bytes) noexcept nogil:
        cdef uint32_t body_bytes = <uint32_t>fixed_bytes + 2
        cdef uint32_t needed_bytes = varint_bytes(<uint64_t>body_bytes << 1) + body_bytes + origin.head_bytes
        cdef uint32_t wanted_bytes = max(slot.run_bytes - BATCH_HEADER_BYTES, needed_bytes)
        cdef Topic* topic = slot.topic
        if slot.held:
            return BLOCKED_PARTITION
        while self.arena.batch_open(&slot.batch, topic.index, slot.partition, needed_bytes, wanted_bytes, self.now_ms, self.tick_ms) != OPENED:
            # Memory is short: what is open gives its unused tail back by being sealed.
            if not self._seal_open():
                return BLOCKED_ARENA
        slot.origin_tag = 0
        slot.batch.last_run = 0
        slot.batch.touched = False
        slot.open_next = NULL
        slot.open_previous = topic.open_last
        if topic.open_last != NULL:
            topic.open_last.open_next = slot
        else:
            topic.open_first = slot
        topic.open_last = slot
        self.open_count += 1
        self.flags |= FLAG_OPENED
        return 0

    # The record cannot be taken now. Streams wait in their place; what may not wait is refused.
    cdef bint _wait(self, Input* input, uint32_t blocked_reason, uint64_t sequence) noexcept nogil:
        if blocked_reason == BLOCKED_ARENA and input.listener.shed:
            return self.refuse(input, REJECTED_SHED, sequence)
        if blocked_reason == BLOCKED_PARTITION and input.datagram:
            return self.refuse(input, REJECTED_PARTITION_SHARE, sequence)
        input.flags |= FLAG_BLOCKED
        input.blocked_reason = blocked_reason
        return False

    cdef bint _without_count(self, Input* input, Topic* topic, uint64_t sequence) noexcept nogil:
        if topic.refused or input.datagram:
            return self.refuse(input, REJECTED_TOPIC_UNKNOWN, sequence)
        input.flags |= FLAG_TOPIC_WAIT
        input.wanted_topic = topic.index
        return False

    # False: out of bounds and to be refused. One record dated 2099 would make the broker refuse its whole batch.
    cdef bint _bound_timestamp(self, Input* input, Record* record) noexcept nogil:
        cdef const Listener* listener = input.listener
        if not listener.timestamp_of_record:
            record.timestamp_ms = self.now_ms
            return True
        # Widths are compared, not sums: foreign timestamps may sit at either end of 64 bits.
        if record.timestamp_ms >= 0:
            if record.timestamp_ms <= self.now_ms:
                if self.now_ms - record.timestamp_ms <= listener.timestamp_past_ms:
                    return True
            elif record.timestamp_ms - self.now_ms <= listener.timestamp_future_ms:
                return True
        if listener.timestamp_refuse:
            return False
        record.timestamp_ms = self.now_ms
        # Counted once it is taken: a record that has to wait is offered again as it came.
        record.timestamp_replaced = 1
        return True

    cdef bint refuse(self, Input* input, uint32_t reason, uint64_t sequence) noexcept nogil:
        cdef SessionCursor* session = &input.session
        if input.refuse_reason == LOOKING_AHEAD:
            session.sequence = sequence
            return True
        if session.row != NULL:
            if session.row.rejection_count + session.fresh_count >= SESSION_REJECTIONS_MAX:
                input.flags |= FLAG_BLOCKED
                input.blocked_reason = BLOCKED_CONFIRM
                return False
            session.fresh[session.fresh_count] = (<uint64_t>reason << 48) | (sequence & <uint64_t>0xFFFFFFFFFFFFULL)
            session.fresh_count += 1
        if input.answers:
            ranges_add(input, sequence, reason)
        session.sequence = sequence
        self.pending.rejected[reason] += 1
        self.pending.rejected_mask |= <uint32_t>1 << reason
        input.flags |= FLAG_REJECTED
        return True

    cdef void commit(self) noexcept nogil:
        cdef uint32_t index, stores = self.touched_count
        for index in range(self.touched_count):
            self.arena.commit_add(&self.touched[index].batch)
            self.touched[index].batch.touched = False
        self.touched_count = 0
        if self.input != NULL and self.input.session.row != NULL:
            stores += self._commit_session()
        stores += self._commit_ledger()
        if stores:
            self.arena.intent_commit()

    cdef uint32_t _commit_session(self) noexcept nogil:
        cdef SessionCursor* session = &self.input.session
        cdef uint32_t index
        if session.sequence == session.row.last_accepted:
            return 0
        self.arena.intent_add(&session.row.last_accepted, session.sequence)
        if session.fresh_count:
            for index in range(session.fresh_count):
                self.arena.intent_add(&session.row.rejections[session.row.rejection_count + index], session.fresh[index])
            self.arena.intent_add(&session.row.rejection_count, session.row.rejection_count + session.fresh_count)
            session.fresh_count = 0
        return 1

    cdef uint32_t _commit_ledger(self) noexcept nogil:
        cdef Deltas* pending = &self.pending
        cdef uint64_t* ledger = self.arena.ledger
        cdef uint64_t received = pending.accepted
        cdef uint32_t reason, stores = 0
        cdef uint64_t[6] deltas = [pending.accepted, pending.repeated, pending.received_bytes, pending.accepted_bytes,
                                   pending.kernel_dropped, pending.timestamps_replaced]
        cdef uint32_t[6] words = [LEDGER_ACCEPTED, LEDGER_REPEATED, LEDGER_RECEIVED_BYTES, LEDGER_ACCEPTED_BYTES,
                                  LEDGER_KERNEL_DROPPED, LEDGER_TIMESTAMPS_REPLACED]
        for reason in range(6):
            if deltas[reason]:
                self.arena.intent_add(ledger + words[reason], ledger[words[reason]] + deltas[reason])
                stores += 1
        if pending.rejected_mask:
            for reason in range(32):
                if pending.rejected[reason]:
                    received += pending.rejected[reason]
                    self.arena.intent_add(ledger + LEDGER_REJECTED + reason, ledger[LEDGER_REJECTED + reason] + pending.rejected[reason])
        if received:
            self.arena.intent_add(ledger + LEDGER_RECEIVED, ledger[<uint32_t>LEDGER_RECEIVED] + received)
            stores += 1
        if stores:
            memset(pending, 0, sizeof(Deltas))
        return stores

    cdef void seal(self, Slot* slot) noexcept nogil:
        cdef Topic* topic = slot.topic
        if slot.batch.touched:
            self.commit()
        # A batch that lingered out mostly empty predicts a shorter run; what filled was doubled before it came here.
        if slot.batch.front * 4 < slot.run_bytes:
            slot.run_bytes = max(slot.run_bytes // 2, topic.run_bytes_least)
        if slot.open_previous != NULL:
            slot.open_previous.open_next = slot.open_next
        else:
            topic.open_first = slot.open_next
        if slot.open_next != NULL:
            slot.open_next.open_previous = slot.open_previous
        else:
            topic.open_last = slot.open_previous
        self.arena.batch_seal(&slot.batch)
        self.open_count -= 1
        self.flags |= FLAG_SEALED

    cdef void seal_topic(self, Topic* topic) noexcept nogil:
        while topic.open_first != NULL:
            self.seal(topic.open_first)

    # Seals what would give pages back. False: nothing would.
    cdef bint _seal_open(self) noexcept nogil:
        cdef uint32_t index
        cdef Slot* slot
        cdef Slot* following
        cdef bint any_sealed = False
        for index in range(self.topic_capacity):
            if self.topics[index] == NULL:
                continue
            slot = self.topics[index].open_first
            while slot != NULL:
                following = slot.open_next
                if slot.batch.back - slot.batch.front >= PAGE_BYTES:
                    self.seal(slot)
                    any_sealed = True
                slot = following
        return any_sealed
