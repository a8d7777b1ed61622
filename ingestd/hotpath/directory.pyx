"""The arena's batches: directory, runs of pages, states. See directory.pxd."""
cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from ingestd.hotpath.crc32c cimport crc32c_update
from ingestd.hotpath.geometry cimport data_offset, directory_offset
from ingestd.hotpath.intent cimport intent_stage_changes
from ingestd.hotpath.layout cimport (
    BATCH_HEADER_BYTES, BATCH_NUMBERS, INTENT_PAIRS, PAGE_BYTES, PROVENANCE_SESSION,
    STATE_DONE, STATE_FAILED, STATE_FREE, STATE_OPEN, STATE_SEALED, STATE_STAMPED, Entry,
)
from ingestd.hotpath.pages cimport PageMap
from ingestd.hotpath.walker cimport Walker, walk_next, walk_row, walk_start

cdef uint64_t LOW_HALF = 0xFFFFFFFFu


@cython.no_gc_clear      # see BatchView
cdef class Directory(Tables):
    """Base of the arena: its batches, as intake and recovery see them."""

    def __cinit__(self):
        self.oldest = self.newest = -1

    def __dealloc__(self):
        free(self.views)
        free(self.free_entries)
        free(self.sealed)
        free(self.older)
        free(self.newer)

    cdef int directory_attach(self) except -1:
        # For a new arena; recovery takes the entries and pages in use away afterwards.
        cdef int64_t index
        self.directory = <Entry*>(self.base + directory_offset(self.header))
        self.data = self.base + data_offset(self.header)
        self.entry_count = self.header.entry_count
        self.intake_pages = self.header.page_count - self.header.reserve_pages
        self.pages = PageMap(self.header.page_count)
        self.free_pages = self.intake_pages
        self.free_reserve_pages = self.header.reserve_pages
        self.views = <uint32_t*>calloc(self.entry_count, sizeof(uint32_t))
        self.free_entries = <int32_t*>calloc(self.entry_count, sizeof(int32_t))
        self.sealed = <int32_t*>calloc(self.entry_count, sizeof(int32_t))
        self.older = <int32_t*>calloc(self.entry_count, sizeof(int32_t))
        self.newer = <int32_t*>calloc(self.entry_count, sizeof(int32_t))
        if self.views == NULL or self.free_entries == NULL or self.sealed == NULL or self.older == NULL \
                or self.newer == NULL:
            raise MemoryError()
        for index in range(self.entry_count):
            self.free_entries[index] = <int32_t>(self.entry_count - 1 - index)
        self.free_entry_count = self.entry_count
        return 0

    # --- what intake calls

    cdef OpenVerdict batch_open(self, OpenBatch* batch, uint32_t topic, uint32_t partition, uint32_t needed_bytes,
                                uint32_t wanted_bytes, int64_t now_ms, int64_t tick_ms) noexcept nogil:
        cdef uint64_t needed = (<uint64_t>needed_bytes + BATCH_HEADER_BYTES + PAGE_BYTES - 1) // PAGE_BYTES
        cdef uint64_t wanted = (<uint64_t>wanted_bytes + BATCH_HEADER_BYTES + PAGE_BYTES - 1) // PAGE_BYTES
        cdef uint64_t pages
        cdef uint32_t entry
        cdef int64_t first = -1
        cdef Entry* place
        cdef Stamp stamp
        batch.entry = -1
        # A sixteenth of what is free is one batch's share: ten thousand partitions must not fill the arena with empty
        # tails.
        pages = max(needed, min(wanted, <uint64_t>self.free_pages // 16))
        if self.free_entry_count == 0 or needed > self.intake_pages:
            return ARENA_FULL
        while True:
            first = self.pages.find(<uint32_t>pages)
            if 0 <= first and first + <int64_t>pages <= self.intake_pages:
                break
            if pages == needed:
                return ARENA_FULL
            pages = max(needed, pages // 2)
        self.free_entry_count -= 1
        entry = self.free_entries[self.free_entry_count]
        self.pages.take(<uint32_t>first, <uint32_t>pages)
        self._count_pages(first, -<int64_t>pages)
        batch.entry = entry
        batch.start = self.data + first * PAGE_BYTES
        batch.front = batch.committed_front = BATCH_HEADER_BYTES
        batch.run_bytes = batch.back = <uint32_t>(pages * PAGE_BYTES)
        batch.record_count = batch.committed_count = 0
        batch.crc = self.content_seed(entry, generation_of(&self.directory[entry]))
        batch.last_run = 0
        batch.base_timestamp_ms = batch.max_timestamp_ms = 0
        batch.opened_tick_ms = tick_ms
        batch.touched = False
        batch.topic = topic
        batch.partition = partition
        batch.number = self.next_number
        self.next_number += BATCH_NUMBERS
        # Nobody reads the second line of an entry that is FREE in the file: no intent is needed for it.
        memset(&stamp, 0, sizeof(Stamp))
        stamp.producer_id = -1
        stamp.created_ms = now_ms
        stamp.attempts = <uint64_t>self._stamp_crc(entry, &stamp) << 32
        place = &self.directory[entry]
        memcpy(&place.producer_id, &stamp, sizeof(Stamp))
        return OPENED

    cdef void commit_add(self, OpenBatch* batch) noexcept nogil:
        cdef uint32_t entry = <uint32_t>batch.entry
        cdef Identity line
        batch.crc = crc32c_update(batch.crc, batch.start + batch.committed_front, batch.front - batch.committed_front)
        self.identity_read(entry, &line)
        if line.state & 255 == STATE_FREE:
            line.state = state_word(generation_of(&self.directory[entry]), 0, STATE_OPEN)
            line.run = self._open_run(batch)
            line.route = <uint64_t>batch.partition << 32 | batch.topic
            line.number = batch.number
            line.count = 0
            if batch.committed_count == 0 and batch.record_count > 0:
                self.open_batches += 1
                self.list_append(entry)
        line.commit = <uint64_t>batch.crc << 32 | (batch.front - BATCH_HEADER_BYTES)
        line.count = batch.record_count
        line.base_timestamp_ms = batch.base_timestamp_ms
        line.max_timestamp_ms = batch.max_timestamp_ms
        if batch.record_count > 0:
            self.identity_stage(entry, &line)
        self.buffered_records += batch.record_count - batch.committed_count
        batch.committed_front = batch.front
        batch.committed_count = batch.record_count
        batch.touched = False

    cdef void batch_seal(self, OpenBatch* batch) noexcept nogil:
        cdef uint32_t entry = <uint32_t>batch.entry
        batch.entry = -1
        if batch.committed_count == 0:
            self.run_give(self._open_run(batch))
            self.free_entries[self.free_entry_count] = entry
            self.free_entry_count += 1
            return
        # What was added before is in the file first: seal_stage reads the entry from there.
        self.intent_commit()
        self.seal_stage(entry, batch.run_bytes - batch.back)
        self.sealed[(self.sealed_first + self.sealed_count) % self.entry_count] = entry
        self.sealed_count += 1

    cdef void seal_stage(self, uint32_t entry, uint32_t provenance_bytes) noexcept nogil:
        cdef Identity line
        cdef Stamp stamp
        cdef unsigned char* start = self.run_start(entry)
        cdef uint64_t run = self.directory[entry].run
        cdef uint32_t old_bytes = self.run_bytes(entry)
        cdef uint32_t new_bytes
        cdef uint64_t used
        self.identity_read(entry, &line)
        self.stamp_read(entry, &stamp)
        used = BATCH_HEADER_BYTES + (line.commit & LOW_HALF) + provenance_bytes
        new_bytes = <uint32_t>((used + PAGE_BYTES - 1) // PAGE_BYTES * PAGE_BYTES)
        # The copy must not run over its own source: until the intent is published, that is the one in force. Then the
        # tail stays.
        if new_bytes + provenance_bytes <= old_bytes:
            memcpy(start + new_bytes - provenance_bytes, start + old_bytes - provenance_bytes, provenance_bytes)
        else:
            new_bytes = old_bytes
        stamp.provenance = crc32c_update(self.seed, start + new_bytes - provenance_bytes, provenance_bytes)
        stamp.provenance = stamp.provenance << 32 | provenance_bytes
        line.state = state_word(generation_of(&self.directory[entry]), 0, STATE_SEALED)
        line.run = run_word(run & LOW_HALF, new_bytes // PAGE_BYTES)
        self.identity_stage(entry, &line)
        self.stamp_stage(entry, &stamp)
        self.intent_commit()
        self.run_give(run_word((run & LOW_HALF) + new_bytes // PAGE_BYTES, (old_bytes - new_bytes) // PAGE_BYTES))
        self.open_batches -= 1
        self.sealed_batches += 1

    # --- lines of an entry

    cdef uint32_t content_seed(self, uint32_t entry, uint32_t generation) noexcept nogil:
        # A page's old contents can then never pass for a new batch's, nor a batch for one of another entry or arena.
        cdef uint64_t word = <uint64_t>generation << 32 | entry
        return crc32c_update(self.seed, <unsigned char*>&word, 8)

    cdef uint32_t _identity_crc(self, uint32_t entry, const Identity* line) noexcept nogil:
        cdef Identity copy = line[0]
        copy.count &= LOW_HALF
        return crc32c_update(self.content_seed(entry, 0xFFFFFFFFu), <unsigned char*>&copy, sizeof(Identity))

    cdef uint32_t _stamp_crc(self, uint32_t entry, const Stamp* line) noexcept nogil:
        cdef Stamp copy = line[0]
        copy.attempts &= LOW_HALF
        return crc32c_update(self.content_seed(entry, 0xFFFFFFFFu), <unsigned char*>&copy, sizeof(Stamp))

    cdef void identity_read(self, uint32_t entry, Identity* line) noexcept nogil:
        memcpy(line, &self.directory[entry].state, sizeof(Identity))
        line.count &= LOW_HALF

    cdef void identity_stage(self, uint32_t entry, Identity* line) noexcept nogil:
        line.count = <uint64_t>self._identity_crc(entry, line) << 32 | (line.count & LOW_HALF)
        if self.intent.count + 8 > INTENT_PAIRS:
            self.intent_commit()
        intent_stage_changes(&self.intent, &self.directory[entry].state, <uint64_t*>line, 8)

    cdef void stamp_read(self, uint32_t entry, Stamp* line) noexcept nogil:
        memcpy(line, &self.directory[entry].producer_id, sizeof(Stamp))
        line.attempts &= LOW_HALF

    cdef void stamp_stage(self, uint32_t entry, Stamp* line) noexcept nogil:
        line.attempts = <uint64_t>self._stamp_crc(entry, line) << 32 | (line.attempts & LOW_HALF)
        intent_stage_changes(&self.intent, <uint64_t*>&self.directory[entry].producer_id, <uint64_t*>line, 8)

    cdef bint identity_good(self, uint32_t entry) noexcept nogil:
        cdef Identity line
        cdef uint32_t index
        cdef uint64_t any_bit = 0
        cdef uint64_t* words = &self.directory[entry].state
        for index in range(8):
            any_bit |= words[index]
        if any_bit == 0:
            return True     # never used: FREE of generation 0
        self.identity_read(entry, &line)
        return self._identity_crc(entry, &line) == words[3] >> 32

    cdef bint stamp_good(self, uint32_t entry) noexcept nogil:
        cdef Stamp line
        self.stamp_read(entry, &line)
        return self._stamp_crc(entry, &line) == self.directory[entry].attempts >> 32

    # --- runs of pages

    cdef uint64_t _open_run(self, const OpenBatch* batch) noexcept nogil:
        return run_word((batch.start - self.data) // PAGE_BYTES, batch.run_bytes // PAGE_BYTES)

    cdef unsigned char* run_start(self, uint32_t entry) noexcept nogil:
        return self.data + (self.directory[entry].run & LOW_HALF) * PAGE_BYTES

    cdef uint32_t run_bytes(self, uint32_t entry) noexcept nogil:
        return <uint32_t>(self.directory[entry].run >> 32) * PAGE_BYTES

    cdef int64_t run_take(self, uint32_t pages) noexcept nogil:
        cdef int64_t first = self.pages.find(pages)
        if first >= 0:
            self.pages.take(<uint32_t>first, pages)
            self._count_pages(first, -<int64_t>pages)
        return first

    cdef void run_give(self, uint64_t run) noexcept nogil:
        self.pages.give(<uint32_t>run, <uint32_t>(run >> 32))
        self._count_pages(<int64_t>(run & LOW_HALF), <int64_t>(run >> 32))

    cdef void _count_pages(self, int64_t first, int64_t pages) noexcept nogil:
        # `pages` below 0: taken. A run of compressed records may reach across the border of the reserve.
        cdef int64_t size = pages if pages > 0 else -pages
        cdef int64_t inside = max(0, min(size, first + size - self.intake_pages))
        cdef int64_t sign = 1 if pages > 0 else -1
        self.free_reserve_pages += sign * inside
        self.free_pages += sign * (size - inside)

    # --- ends of a batch

    cdef void intent_commit(self) noexcept nogil:
        Tables.intent_commit(self)
        if self.lingering:
            self._reap()

    cdef void entry_free(self, uint32_t entry) noexcept nogil:
        cdef Identity line
        cdef uint64_t run = self.directory[entry].run
        memset(&line, 0, sizeof(Identity))
        line.state = state_word(generation_of(&self.directory[entry]) + 1, 0, STATE_FREE)
        self.identity_stage(entry, &line)
        self.intent_commit()
        self.run_give(run)
        self.frees += 1
        self.list_remove(entry)
        self.free_entries[self.free_entry_count] = entry
        self.free_entry_count += 1

    cdef void entry_finish(self, uint32_t entry, uint32_t state) noexcept nogil:
        cdef Identity line
        if state_of(&self.directory[entry]) == STATE_SEALED:
            self.sealed_batches -= 1
        else:
            self.stamped_batches -= 1
        self.identity_read(entry, &line)
        self.buffered_records -= line.count
        if self.views[entry] == 0:
            self.entry_free(entry)
            return
        # A transport still holds the bytes: the outcome is written now, the pages stay until the last view is given
        # back.
        line.state = state_word(generation_of(&self.directory[entry]), 0, state)
        self.identity_stage(entry, &line)
        self.intent_commit()

    cdef void view_given(self, uint32_t entry) noexcept nogil:
        self.views[entry] += 1
        self.views_held += 1

    cdef void view_returned(self, uint32_t entry) noexcept nogil:
        cdef uint32_t state = state_of(&self.directory[entry])
        self.views[entry] -= 1
        self.views_held -= 1
        if self.views[entry] != 0 or (state != STATE_DONE and state != STATE_FAILED):
            return
        # A garbage collection may give a view back in the middle of a read: an intent being built must not be
        # published by that. Its owner commits it, and the entry is freed behind it.
        if self.intent.count == 0:
            self.entry_free(entry)
        else:
            self.lingering = True

    cdef void _reap(self) noexcept nogil:
        cdef int32_t entry = self.oldest
        cdef int32_t following
        cdef uint32_t state
        self.lingering = False
        while entry >= 0:
            following = self.newer[entry]
            state = state_of(&self.directory[entry])
            if (state == STATE_DONE or state == STATE_FAILED) and self.views[entry] == 0:
                self.entry_free(<uint32_t>entry)
            entry = following

    cdef void list_append(self, uint32_t entry) noexcept nogil:
        self.older[entry] = self.newest
        self.newer[entry] = -1
        if self.newest >= 0:
            self.newer[self.newest] = <int32_t>entry
        else:
            self.oldest = <int32_t>entry
        self.newest = <int32_t>entry

    cdef void list_insert(self, uint32_t entry, uint32_t older) noexcept nogil:
        self.older[entry] = <int32_t>older
        self.newer[entry] = self.newer[older]
        if self.newer[older] >= 0:
            self.older[self.newer[older]] = <int32_t>entry
        else:
            self.newest = <int32_t>entry
        self.newer[older] = <int32_t>entry

    cdef void list_remove(self, uint32_t entry) noexcept nogil:
        if self.older[entry] >= 0:
            self.newer[self.older[entry]] = self.newer[entry]
        else:
            self.oldest = self.newer[entry]
        if self.newer[entry] >= 0:
            self.older[self.newer[entry]] = self.older[entry]
        else:
            self.newest = self.older[entry]

    cdef void walk(self, uint32_t entry, Walker* walker) noexcept nogil:
        cdef Entry* line = &self.directory[entry]
        cdef unsigned char* end = self.run_start(entry) + self.run_bytes(entry)
        cdef uint64_t size = line.provenance & LOW_HALF
        if state_of(line) == STATE_OPEN:
            size = self.run_bytes(entry) - BATCH_HEADER_BYTES - (line.commit & LOW_HALF)
        elif size > self.run_bytes(entry) or crc32c_update(self.seed, end - size, size) != line.provenance >> 32:
            size = 0
        walk_start(walker, end - size, end, <uint32_t>line.count)

    cdef set sessions_in_batches(self):
        cdef int32_t entry = self.oldest
        cdef Walker walker
        rows = set()
        while entry >= 0:
            # Whoever sent what is done has heard of it, though its bytes may still be on their way.
            if state_of(&self.directory[entry]) not in (STATE_DONE, STATE_FAILED):
                self.walk(<uint32_t>entry, &walker)
                while walk_next(&walker):
                    if walker.kind == PROVENANCE_SESSION:
                        rows.add(walk_row(&walker))
            entry = self.newer[entry]
        return rows
