"""A worker's buffer: one mapped file that is the accumulator, the crash safety and the outage spool."""
import os

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ingestd.hotpath.crc32c cimport crc32c_update
from ingestd.hotpath.directory cimport (
    Directory, Identity, Stamp, codec_of, generation_of, run_word, state_of, state_word,
)
from ingestd.hotpath.geometry cimport whole_pages
from ingestd.hotpath.header cimport BatchHeader, header_write
from ingestd.hotpath.layout cimport (
    ABSORBED_MAX, BATCH_HEADER_BYTES, DROPPED_REASONS, FAILED_REASONS, LEDGER_DELIVERED, LEDGER_DELIVERED_BYTES,
    LEDGER_DROPPED, LEDGER_FAILED, LEDGER_POSSIBLE_DUPLICATES, LEDGER_REJECTED, LEDGER_WORDS, PAGE_BYTES,
    REJECTED_REASONS,
    STATE_FAILED, STATE_DONE, STATE_FREE, STATE_OPEN, STATE_SEALED, STATE_STAMPED, Entry,
)
from ingestd.hotpath.recovery cimport recover
from ingestd.hotpath.tables cimport Tables
from ingestd.hotpath.walker cimport Walker, walk_next

from ingestd.hotpath.errors import (
    ArenaDamaged, ArenaError, ArenaFull, ArenaInUse, ArenaLayoutUnknown, ArenaStateError,
)
from ingestd.hotpath.records import decode_records, repaired
from ingestd.hotpath.salvage import books_closed
from ingestd.hotpath.snapshots import Batch, BatchState, Damage, Record, Run, Session, Topic

cdef uint64_t LOW_HALF = 0xFFFFFFFFu
cdef int64_t NEVER_MS = (<int64_t>1 << 62)


# Not cleared by the garbage collector: a view that hangs on a cycle is given back after everything in reach of that
# cycle was cleared, and needs its arena, the arena its map of pages. Nothing leaks by that: neither of them refers to
# anything but numbers, text and tables of them, so that neither is part of a cycle itself.
@cython.no_gc_clear
cdef class BatchView:
    """Exports the bytes of one batch, and counts who holds them."""
    cdef Arena arena
    cdef uint32_t entry
    cdef unsigned char* start
    cdef Py_ssize_t size_bytes

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.start, self.size_bytes, 1, flags)
        self.arena.view_given(self.entry)

    def __releasebuffer__(self, Py_buffer* buffer):
        self.arena.view_returned(self.entry)


@cython.no_gc_clear
cdef class Arena(Directory):
    """The buffer of one worker. Made by `create` or `open`; only one thread may use it."""

    def __init__(self, *arguments, **keywords):
        raise TypeError("Arena.create() and Arena.open() make arenas")

    @classmethod
    def create(cls, path, *, uint64_t buffer_bytes, uint32_t topic_capacity=256, uint32_t session_capacity=0,
               reserve_pages=None, now_ms):
        """A new arena of about `buffer_bytes`, as a file (FileExistsError if there is one; OSError: no space), or in
        memory if `path` is None.
        """
        cdef Arena arena = cls.__new__(cls)
        arena.path = None if path is None else os.fspath(path)
        arena.tables_create(buffer_bytes, topic_capacity, session_capacity, reserve_pages, now_ms)
        arena.directory_attach()
        arena.region_publish()
        arena.damage = []
        return arena

    @classmethod
    def open(cls, path, *, now_ms):
        """The arena in that file, recovered: open batches cut at their last commit and sealed, damaged ones in
        `damage` and in files of their own beside it. ArenaInUse, ArenaDamaged, ArenaLayoutUnknown, OSError."""
        cdef Arena arena = cls.__new__(cls)
        arena.path = os.fspath(path)
        try:
            arena.tables_open()
            arena.directory_attach()
            arena.damage = recover(arena)
        except BaseException:
            arena.region_close()
            raise
        return arena

    def close(self):
        """Lets the file and its lock go. ArenaStateError while a view of a batch is held."""
        if self.views_held:
            raise ArenaStateError(f"{self.views_held} views of batches are still held")
        self.region_close()

    # --- looking

    @property
    def page_count(self):
        """Data pages outside the reserve."""
        return self.intake_pages

    @property
    def reserve_pages(self):
        """Pages that only compression and repair may take, for the moment of a swap."""
        return self.header.reserve_pages

    @property
    def level(self):
        """Share of the pages outside the reserve that is in use, 0 to 1."""
        return 1.0 - self.free_pages / <double>self.intake_pages

    @property
    def oldest_created_ms(self):
        """When the oldest batch in the arena was opened; 0: the arena is empty."""
        return self.directory[self.oldest].created_ms if self.oldest >= 0 else 0

    @property
    def emptied(self):
        """Nothing is left in the arena: no batch, and no damaged one that could not be put aside."""
        return self.oldest < 0 and all(item.quarantined_to for item in self.damage)

    def ledger(self):
        """The books by name; `rejected`, `failed`, `dropped` are sums, `rejected.N` and so on their reasons as far as
        not 0.
        """
        cdef uint32_t index
        cdef uint64_t* words = (<Tables>self).ledger
        books = {
            "received": words[0], "accepted": words[1], "delivered": words[2], "repeated": words[3],
            "received_bytes": words[4], "accepted_bytes": words[5], "delivered_bytes": words[6],
            "possible_duplicates": words[7], "kernel_dropped": words[8], "delivered_unconfirmed_offsets": words[9],
            "timestamps_replaced": words[10],
        }
        for name, first, count in (
            ("rejected", LEDGER_REJECTED, REJECTED_REASONS),
            ("failed", LEDGER_FAILED, FAILED_REASONS),
            ("dropped", LEDGER_DROPPED, DROPPED_REASONS),
        ):
            books[name] = 0
            for index in range(first, first + count):
                books[name] += words[index]
                if words[index]:
                    books[f"{name}.{index - first}"] = words[index]
        return books

    def buffered(self):
        """Records in OPEN (committed), SEALED and STAMPED batches, counted anew from the directory."""
        cdef uint64_t total = 0
        cdef uint32_t entry, state
        for entry in range(self.entry_count):
            state = state_of(&self.directory[entry])
            if STATE_OPEN <= state <= STATE_STAMPED and self.identity_good(entry):
                total += self.directory[entry].count & LOW_HALF
        return total

    cdef uint32_t _expect(self, object entry, uint32_t states) except? 0xFFFFFFFF:
        cdef uint32_t index
        if not 0 <= entry < self.entry_count:
            raise ArenaStateError(f"no batch {entry}")
        index = entry
        if not (1 << state_of(&self.directory[index])) & states:
            state = BatchState(state_of(&self.directory[index])).name
            raise ArenaStateError(f"batch {entry} is {state}, which does not allow this")
        return index

    cdef object _snapshot(self, uint32_t entry):
        cdef Entry* line = &self.directory[entry]
        cdef bint stamped = state_of(line) == STATE_STAMPED
        # What is sealed for the first time has no producer id.
        cdef bint numbered = stamped or (state_of(line) == STATE_SEALED and line.producer_id >= 0)
        cdef uint32_t attempts = <uint32_t>line.attempts
        # Batch(...) would go through the keyword-taking constructor that NamedTuple writes in Python.
        return tuple.__new__(Batch, (
            entry, line.route & LOW_HALF, line.route >> 32, line.count & LOW_HALF,
            BATCH_HEADER_BYTES + (line.commit & LOW_HALF),
            line.created_ms, line.base_timestamp_ms, line.max_timestamp_ms, codec_of(line), state_of(line),
            line.producer_id if numbered else -1, line.sequence >> 32 & 0xFFFF if numbered else -1,
            line.sequence & LOW_HALF if numbered else -1,
            line.first_send_ms if numbered and (attempts or not stamped) else 0,
            attempts if stamped else 0, line.sequence >> 48, line.number,
        ))

    def batch(self, entry):
        """Snapshot of the batch in that entry, which must be in use."""
        return self._snapshot(self._expect(entry, ~(1u << STATE_FREE)))

    def recovered(self):
        """All SEALED and STAMPED batches, per partition in the order in which they were opened."""
        cdef int32_t entry = self.oldest
        batches = []
        while entry >= 0:
            if state_of(&self.directory[entry]) in (STATE_SEALED, STATE_STAMPED):
                batches.append(self._snapshot(entry))
            entry = self.newer[entry]
        batches.sort(key=lambda batch: (batch.topic, batch.partition, batch.number))
        return batches

    def take_sealed(self):
        """Batches sealed since the last call, in the order of their sealing."""
        cdef uint32_t entry
        batches = []
        while self.sealed_count:
            entry = self.sealed[self.sealed_first]
            self.sealed_first = (self.sealed_first + 1) % self.entry_count
            self.sealed_count -= 1
            batches.append(self._snapshot(entry))
        return batches

    def view(self, entry):
        """The batch's bytes, header and records, read-only (the header means something once it is STAMPED). Counted:
        see `view_count`.
        """
        cdef uint32_t index = self._expect(entry, 1u << STATE_SEALED | 1u << STATE_STAMPED)
        cdef BatchView view = BatchView.__new__(BatchView)
        view.arena = self
        view.entry = index
        view.start = self.run_start(index)
        view.size_bytes = BATCH_HEADER_BYTES + (self.directory[index].commit & LOW_HALF)
        return memoryview(view)

    def view_count(self, entry):
        """How many views of the batch are still held."""
        return self.views[self._expect(entry, ~0u)]

    def _unseen(self, uint32_t entry):
        if self.views[entry]:
            raise ArenaStateError(f"batch {entry} has {self.views[entry]} views that are still held")

    # --- stamps

    cdef int _stamp(self, uint32_t entry, object producer_id, object epoch, object base_sequence, object flags,
                    object now_ms, uint64_t attempts) except -1:
        cdef Identity line
        cdef Stamp stamp
        cdef BatchHeader header
        cdef uint32_t seed = self.content_seed(entry, generation_of(&self.directory[entry]))
        if not (producer_id >= -1 and -1 <= epoch <= 32767 and -1 <= base_sequence < 1 << 31 and 0 <= flags <= 0xFFFF):
            raise ValueError(f"no stamp: {producer_id}, {epoch}, {base_sequence}, {flags}")
        self._unseen(entry)
        self.identity_read(entry, &line)
        self.stamp_read(entry, &stamp)
        header.record_bytes = <uint32_t>line.commit
        header.record_count = <uint32_t>line.count
        header.codec = codec_of(&self.directory[entry])
        header.base_timestamp_ms = line.base_timestamp_ms
        header.max_timestamp_ms = line.max_timestamp_ms
        header.producer_id = producer_id
        header.producer_epoch = <uint32_t>(<int64_t>epoch) & 0xFFFF
        header.base_sequence = <uint32_t>(<int64_t>base_sequence)
        # Recovery writes the header of a stamped batch again from the entry, so it may be half written when we die.
        header_write(self.run_start(entry), &header, seed, <uint32_t>(line.commit >> 32))
        stamp.producer_id = producer_id
        stamp.sequence = <uint64_t>flags << 48 | <uint64_t>header.producer_epoch << 32 | header.base_sequence
        stamp.first_send_ms = now_ms
        stamp.attempts = attempts
        line.state = state_word(generation_of(&self.directory[entry]), header.codec, STATE_STAMPED)
        self.stamp_stage(entry, &stamp)
        self.identity_stage(entry, &line)
        self.intent_commit()
        return 0

    def stamp(self, entry, producer_id, epoch, base_sequence, flags, now_ms):
        """SEALED -> STAMPED: the numbers and the finished header are in the arena before this returns, and stay as
        they are.
        """
        self._stamp(self._expect(entry, 1u << STATE_SEALED), producer_id, epoch, base_sequence, flags, now_ms, 0)
        self.sealed_batches -= 1
        self.stamped_batches += 1

    def dispatch(self, entry, producer_id, epoch, base_sequence, flags, now_ms):
        """`stamp` and the first `attempted` by one intent, and a view of the batch: to be called before the first byte
        of a send.
        """
        cdef uint32_t index = self._expect(entry, 1u << STATE_SEALED)
        self._stamp(index, producer_id, epoch, base_sequence, flags, now_ms, 1)
        self.sealed_batches -= 1
        self.stamped_batches += 1
        return self.view(index)

    def restamp(self, entry, producer_id, epoch, base_sequence, flags, now_ms):
        """New numbers for a STAMPED batch, attempts back to 0. Only for what is proven not to be in the log; no view
        may be held.
        """
        self._stamp(self._expect(entry, 1u << STATE_STAMPED), producer_id, epoch, base_sequence, flags, now_ms, 0)

    def attempted(self, entry, now_ms):
        """To be called before the first byte of a send: counts it, and notes the time of the first."""
        cdef uint32_t index = self._expect(entry, 1u << STATE_STAMPED)
        cdef Stamp stamp
        self.stamp_read(index, &stamp)
        if stamp.attempts == 0:
            stamp.first_send_ms = now_ms
        stamp.attempts += 1
        self.stamp_stage(index, &stamp)
        self.intent_commit()

    # --- ends

    def done(self, entry):
        """The batch is in Kafka: booked as delivered at once; its pages are free once no view is held."""
        cdef uint32_t index = self._expect(entry, 1u << STATE_STAMPED)
        self.ledger_add(LEDGER_DELIVERED, self.directory[index].count & LOW_HALF)
        self.ledger_add(LEDGER_DELIVERED_BYTES, self.directory[index].commit & LOW_HALF)
        self.entry_finish(index, STATE_DONE)

    def fail(self, entry, reason):
        """The batch is given up for that reason (1 to 23), to be called once its records are in the dead letters."""
        cdef uint32_t index = self._expect(entry, 1u << STATE_SEALED | 1u << STATE_STAMPED)
        if not 0 < reason < FAILED_REASONS:
            raise ValueError(f"no reason {reason}")
        self.ledger_add(LEDGER_FAILED + <uint32_t>reason, self.directory[index].count & LOW_HALF)
        self.entry_finish(index, STATE_FAILED)

    def possible_duplicates(self, count):
        """Books `count` records as perhaps written twice."""
        self.ledger_add(LEDGER_POSSIBLE_DUPLICATES, count)
        self.intent_commit()

    def book(self, word, count):
        """Adds to a ledger word that no batch's own operation moves (kernel drops, offsets that stay unknown, what was
        set aside).
        """
        if not 0 <= word < LEDGER_WORDS:
            raise ValueError(f"no ledger word {word}")
        self.ledger_add(word, count)
        self.intent_commit()

    # --- other bytes under the same entry

    cdef int _swap(self, uint32_t entry, uint64_t new_run, const unsigned char* records, uint32_t record_bytes,
                   uint32_t record_count, uint32_t codec, const unsigned char* provenance, uint32_t provenance_bytes,
                   object timestamps) except -1:
        # Everything is copied to a run of its own, which was taken for it; one intent then makes it the batch's. Until
        # then, and if we die, nothing has changed.
        cdef uint64_t old_run = self.directory[entry].run
        cdef uint32_t seed = self.content_seed(entry, generation_of(&self.directory[entry]))
        cdef unsigned char* start = self.data + (new_run & LOW_HALF) * PAGE_BYTES
        cdef Identity line
        cdef Stamp stamp
        memcpy(start + BATCH_HEADER_BYTES, records, record_bytes)
        memcpy(start + (new_run >> 32) * PAGE_BYTES - provenance_bytes, provenance, provenance_bytes)
        self.identity_read(entry, &line)
        self.stamp_read(entry, &stamp)
        line.state = state_word(generation_of(&self.directory[entry]), codec, STATE_SEALED)
        line.run = new_run
        line.commit = <uint64_t>crc32c_update(seed, start + BATCH_HEADER_BYTES, record_bytes) << 32 | record_bytes
        line.count = record_count
        if timestamps is not None:
            line.base_timestamp_ms, line.max_timestamp_ms = timestamps
        stamp.provenance = <uint64_t>crc32c_update(self.seed, provenance, provenance_bytes) << 32 | provenance_bytes
        self.identity_stage(entry, &line)
        self.stamp_stage(entry, &stamp)
        self.intent_commit()
        self.run_give(old_run)
        return 0

    cdef int _leave_reserve(self, uint32_t entry) except -1:
        # The reserve is for the moment of a swap: what stayed in it would be missing at the next one, and with Kafka
        # away, batch after batch would stay. The run that the batch has just left is mostly where it fits.
        cdef uint64_t run = self.directory[entry].run
        cdef uint32_t pages = run >> 32
        cdef int64_t first = self.pages.find(pages)
        cdef uint32_t provenance_bytes = <uint32_t>self.directory[entry].provenance
        if (run & LOW_HALF) + pages <= self.intake_pages or first < 0 or first + pages > <int64_t>self.intake_pages:
            return 0
        return self._swap(
            entry, run_word(self.run_take(pages), pages), self.run_start(entry) + BATCH_HEADER_BYTES,
            <uint32_t>self.directory[entry].commit, <uint32_t>self.directory[entry].count,
            codec_of(&self.directory[entry]), self.run_start(entry) + self.run_bytes(entry) - provenance_bytes,
            provenance_bytes, None)

    def compress(self, entry, const unsigned char[::1] payload not None, codec):
        """Swaps a SEALED batch's records for their compressed form. False: no pages for it, the batch stays as it is.
        """
        cdef uint32_t index = self._expect(entry, 1u << STATE_SEALED)
        cdef uint32_t provenance_bytes = <uint32_t>self.directory[index].provenance
        cdef uint32_t pages
        cdef int64_t first
        if not 0 < codec <= 4 or payload.shape[0] == 0:
            raise ValueError(f"codec {codec} of {payload.shape[0]} bytes")
        self._unseen(index)
        pages = whole_pages(<uint64_t>BATCH_HEADER_BYTES + payload.shape[0] + provenance_bytes)
        first = self.run_take(pages)
        if first < 0:
            return False
        self._swap(index, run_word(first, pages), &payload[0], <uint32_t>payload.shape[0],
                   <uint32_t>self.directory[index].count, codec,
                   self.run_start(index) + self.run_bytes(index) - provenance_bytes, provenance_bytes, None)
        self._leave_reserve(index)
        return True

    def repair(self, entry, bad_indexes, reason, decompress=None, tell=None):
        """Takes records out of a batch that a broker refused for them, and books those as failed for `reason`; the
        batch is SEALED again, uncompressed. `decompress(codec, payload)` is needed for compressed ones. `tell()` is
        called once nothing can fail any more, and while the batch still is as it was. ArenaFull: no pages for it now;
        ValueError: all are bad, or none."""
        cdef uint32_t index = self._expect(entry, 1u << STATE_SEALED | 1u << STATE_STAMPED)
        cdef bint stamped = state_of(&self.directory[index]) == STATE_STAMPED
        cdef uint32_t reason_word = LEDGER_FAILED + <uint32_t>reason
        cdef uint32_t pages
        cdef int64_t first
        bad = frozenset(bad_indexes)
        count = self.directory[index].count & LOW_HALF
        if not 0 < reason < FAILED_REASONS or not 0 < len(bad) < count or not all(0 <= item < count for item in bad):
            raise ValueError(f"cannot repair {count} records by taking out {sorted(bad)} for reason {reason}")
        self._unseen(index)
        part = repaired(
            self._payload(index, decompress), count, self.directory[index].base_timestamp_ms, self._runs(index), bad)
        pages = whole_pages(<uint64_t>BATCH_HEADER_BYTES + <uint64_t>len(part.payload) + <uint64_t>len(part.provenance))
        first = self.run_take(pages)
        if first < 0:
            raise ArenaFull("no pages to repair the batch")
        if tell is not None:
            try:
                tell()
            except BaseException:
                self.run_give(run_word(first, pages))
                raise
        self.ledger_add(reason_word, len(bad))
        self._swap(index, run_word(first, pages), part.payload, <uint32_t>len(part.payload),
                   <uint32_t>part.record_count, 0, part.provenance, <uint32_t>len(part.provenance),
                   (part.base_timestamp_ms, part.max_timestamp_ms))
        self._leave_reserve(index)
        self.buffered_records -= len(bad)
        if stamped:
            self.stamped_batches -= 1
            self.sealed_batches += 1
        return self._snapshot(index)

    def _payload(self, uint32_t entry, decompress):
        cdef uint32_t codec = codec_of(&self.directory[entry])
        payload = (self.run_start(entry) + BATCH_HEADER_BYTES)[:self.directory[entry].commit & LOW_HALF]
        if codec == 0:
            return payload
        if decompress is None:
            raise ValueError(f"the batch is compressed with codec {codec}")
        return decompress(codec, payload)

    def records(self, entry, decompress=None):
        """Iterator over the batch's records (`Record`), with their senders. `decompress(codec, payload)` is needed for
        compressed batches.
        """
        cdef uint32_t index = self._expect(entry, 1u << STATE_SEALED | 1u << STATE_STAMPED)
        return decode_records(self._payload(index, decompress), self.directory[index].count & LOW_HALF,
                              self.directory[index].base_timestamp_ms, self._runs(index))

    def provenance(self, entry):
        """Where the batch's records came from, as runs (`Run`); [] where that was found damaged."""
        return self._runs(self._expect(entry, 1u << STATE_OPEN | 1u << STATE_SEALED | 1u << STATE_STAMPED))

    cdef list _runs(self, uint32_t entry):
        cdef Walker walker
        runs = []
        self.walk(entry, &walker)
        while walk_next(&walker):
            sender = (<const unsigned char*>walker.sender)[:walker.sender_bytes]
            if walker.sender_bytes <= 4:
                sender = int.from_bytes(sender, "little")
            gaps = (<const unsigned char*>walker.at)[:walker.gaps - walker.at][::-1] if walker.skipped else b""
            runs.append(Run(walker.listener, walker.kind, sender, walker.first_sequence, walker.record_count,
                            walker.first_index, gaps, bool(walker.delivered)))
        return runs

    # --- other arenas

    def sessions(self):
        """All sessions in the table."""
        return self.sessions_list()

    def adopt_sessions(self, Arena other not None):
        """Takes over the sessions of an arena that is only drained from now on, each once, so that their clients can
        resume here; one known here already stays, as it is further on. When the table is full, sessions disconnected
        for longer make room; those that find none may come again.
        """
        sessions = [session for session in other.sessions_list() if not session.adopted]
        left = self._sessions_take(sessions)
        for session in sessions:
            if session.session_id not in left:
                # From here on the row over there would bring back what has ended here, or as it stood once.
                other.intent_add(&(<Tables>other).sessions[<uint32_t>session.index].adopted, 1)
                other.intent_commit()

    def _sessions_take(self, sessions):
        # Returns the ids of those that found no room.
        left = set()
        for session in sorted(sessions, key=lambda session: session.disconnected_ms or NEVER_MS, reverse=True):
            row = self.session_find(session.session_id)
            if row is None and session.session_id not in self.sessions_forgotten:
                # Where one found no room, there is none for those that were disconnected before.
                if left or not self._session_take(session):
                    left.add(session.session_id)
            elif row is not None and row.last_accepted < session.last_accepted:
                # Sequences only grow: of two rows, the one that is further is the newer.
                self._session_write(
                    row.index, row.session_id, session.last_accepted, session.rejections, row.disconnected_ms)
        return left

    def _session_take(self, session):
        try:
            index = self._session_row()
        except ArenaFull:
            index = self.session_forgettable((session.disconnected_ms or NEVER_MS) - 1)
            if index < 0:
                return False
            self.sessions_forgotten.add(self._session(index).session_id)
            self.session_close(index)
        self._session_write(
            index, session.session_id, session.last_accepted, session.rejections, session.disconnected_ms)
        self.session_indexes[session.session_id] = index
        self.session_busy.discard(index)
        return True

    def absorb(self, Arena other not None):
        """Takes over the books and the sessions of a drained arena (ValueError if it is not), once: a second call for
        the same one adds nothing. The caller then unlinks it."""
        cdef uint32_t word
        cdef uint64_t* words = (<Tables>other).ledger
        if other is self or other.buffered() or not other.emptied:
            raise ValueError("only another arena that is empty can be absorbed")
        self.adopt_sessions(other)
        if other.arena_id in self.absorbed_ids():
            return
        self._books_take(other.ledger_counters(), [other.arena_id])
        for word in range(<uint32_t>LEDGER_WORDS):
            if words[word]:
                other.intent_add(&words[word], 0)
        other.intent_commit()

    def absorbed_ids(self):
        """Ids of the arenas whose books are in ours, oldest first; only the newest are remembered."""
        cdef uint64_t number
        ids = []
        for number in range(max(self.absorbed.count, <uint64_t>ABSORBED_MAX) - ABSORBED_MAX, self.absorbed.count):
            ids.append((<const unsigned char*>self.absorbed.arena_ids[number % ABSORBED_MAX])[:16])
        return ids

    def _books_take(self, words, arena_ids):
        # One intent: the counters, and whose they are.
        cdef uint32_t word
        cdef uint64_t place, half
        cdef uint64_t* slot
        for word in range(<uint32_t>LEDGER_WORDS):
            if words[word]:
                self.ledger_add(word, words[word])
        for number, arena_id in enumerate(arena_ids, self.absorbed.count):
            place = number % ABSORBED_MAX
            slot = <uint64_t*>self.absorbed.arena_ids[place]
            for half in range(2):
                self.intent_add(slot + half, int.from_bytes(arena_id[8 * half:8 * half + 8], "little"))
        self.intent_add(&self.absorbed.count, self.absorbed.count + <uint64_t>len(arena_ids))
        self.intent_commit()

    def take_over(self, salvaged, uint32_t reason, *, now_ms):
        """Goes on for an arena that is given up (`Salvaged`): topics, sessions, cluster id, and its books, closed: what
        was in it is dropped for `reason`. Once: a second call for the same arena changes nothing. Returns how many
        records were dropped."""
        if salvaged.arena_id in self.absorbed_ids():
            return 0
        if salvaged.cluster_id and not self.cluster_id:
            self.set_cluster_id(salvaged.cluster_id)
        known = {topic.name: topic for topic in self.topics()}
        for topic in salvaged.topics:
            if topic.name not in known and self.topic_count == self.topic_capacity:
                continue
            if topic.name not in known or not known[topic.name].partition_count:
                self.topic_update(self.topic_add(topic.name), topic.topic_id, topic.partition_count)
        # Whoever held them is gone.
        self._sessions_take(
            [session._replace(disconnected_ms=session.disconnected_ms or now_ms) for session in salvaged.sessions])
        words, dropped = books_closed(salvaged.words, salvaged.buffered_records, LEDGER_DROPPED + reason)
        ids = [known_id for known_id in salvaged.absorbed if known_id not in self.absorbed_ids()]
        ids.append(salvaged.arena_id)
        self._books_take(words, ids[max(len(ids) - ABSORBED_MAX, 0):])
        return dropped
