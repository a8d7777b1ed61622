"""Recovery: what opening an arena does with its batches. It may be cut short at any store, and is then done again.

DONE and FAILED batches are freed (their books moved with their state), OPEN ones are cut at their last commit and
sealed, STAMPED ones get their header written again. A batch whose line, run or contents do not check is copied to a
file of its own, booked as dropped, and freed.
"""
import os

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from ingestd.hotpath.crc32c cimport crc32c_update
from ingestd.hotpath.directory cimport Directory, Identity, Stamp, codec_of, generation_of, state_of, state_word
from ingestd.hotpath.header cimport BatchHeader, header_write
from ingestd.hotpath.layout cimport (
    BATCH_HEADER_BYTES, BATCH_NUMBERS, DROPPED_QUARANTINED, LEDGER_ACCEPTED, LEDGER_DELIVERED, LEDGER_DROPPED, LEDGER_FAILED,
    PAGE_BYTES, STATE_DONE, STATE_FAILED, STATE_FREE, STATE_OPEN, STATE_SEALED, STATE_STAMPED, Entry,
)
from ingestd.hotpath.walker cimport Walker, walk_next, walk_start

from ingestd.hotpath.snapshots import Damage

cdef uint64_t LOW_HALF = 0xFFFFFFFFu
cdef uint32_t QUARANTINE_PAGES_MAX = 16384


cdef list recover(Directory arena):
    cdef uint32_t entry, state
    cdef list living = [], taken = [], damaged = []
    for entry in range(arena.entry_count):
        state = state_of(&arena.directory[entry])
        if not arena.identity_good(entry) or state > STATE_FAILED:
            damaged.append((entry, -1, "directory entry"))
        elif state == STATE_OPEN or state == STATE_SEALED or state == STATE_STAMPED:
            living.append((arena.directory[entry].number, entry))
        elif state == STATE_DONE or state == STATE_FAILED:
            entry_reset(arena, entry)
    living.sort()
    for _, entry in living:
        arena.next_number = max(
            arena.next_number, (arena.directory[entry].number // BATCH_NUMBERS + 1) * BATCH_NUMBERS)
        reason = batch_fault(arena, entry)
        if reason:
            damaged.append((entry, arena.directory[entry].count & LOW_HALF, reason))
        else:
            batch_take(arena, entry)
            taken.append(entry)
    entries_derive(arena, {entry for entry, _, _ in damaged})
    report = [quarantine(arena, entry, count, reason) for entry, count, reason in sorted(damaged)]
    if any(item.record_count < 0 for item in report):
        # Before these are free: who finds no damage any more has no reason to look at the books.
        books_close(arena)
    for item in report:
        if item.record_count < 0 and item.quarantined_to:
            entry_give(arena, item.entry)
    for entry in taken:
        if state_of(&arena.directory[entry]) == STATE_OPEN:
            open_seal(arena, entry)
    return report


cdef str batch_fault(Directory arena, uint32_t entry):
    # Why this batch cannot be used; "" if it can.
    cdef Entry* line = &arena.directory[entry]
    cdef uint64_t first = line.run & LOW_HALF
    cdef uint64_t count = line.run >> 32
    cdef uint64_t size = line.commit & LOW_HALF
    cdef uint32_t seed = arena.content_seed(entry, generation_of(line))
    if count == 0 or first + count > arena.header.page_count or size == 0 \
            or count * PAGE_BYTES < BATCH_HEADER_BYTES + size:
        return "run outside the data pages"
    if line.count & LOW_HALF == 0 or (line.route & LOW_HALF) >= arena.topic_count:
        return "no records, or no such topic"
    if crc32c_update(seed, arena.data + first * PAGE_BYTES + BATCH_HEADER_BYTES, size) != line.commit >> 32:
        return "contents"
    if not arena.pages.all_free(<uint32_t>first, <uint32_t>count):
        return "pages of another batch"
    if state_of(line) != STATE_STAMPED and arena.stamp_good(entry):
        return ""
    return stamp_fault(arena, entry)


cdef str stamp_fault(Directory arena, uint32_t entry):
    # The second line: of a STAMPED batch it can be read back from the finished header, whose checksum then tells that
    # it is right.
    cdef unsigned char* start = arena.run_start(entry)
    cdef Entry* line = &arena.directory[entry]
    cdef Stamp stamp
    cdef uint32_t crc, size = <uint32_t>line.commit
    if arena.stamp_good(entry):
        return ""
    memset(&stamp, 0, sizeof(Stamp))
    stamp.producer_id = -1
    stamp.created_ms = line.base_timestamp_ms
    if state_of(line) == STATE_STAMPED:
        header = (<const unsigned char*>start)[:BATCH_HEADER_BYTES]
        crc = ~crc32c_update(0xFFFFFFFFu, start + 21, BATCH_HEADER_BYTES - 21 + size)
        if crc != <uint32_t>int.from_bytes(header[17:21], "big"):
            return "stamp"
        stamp.producer_id = int.from_bytes(header[43:51], "big", signed=True)
        stamp.sequence = <uint64_t>int.from_bytes(header[51:57], "big")     # epoch and base sequence lie side by side
        stamp.attempts = 1     # it may have been sent
    arena.stamp_stage(entry, &stamp)
    arena.intent_commit()
    return ""


cdef void batch_take(Directory arena, uint32_t entry):
    # Takes a good batch's pages out of the free ones and counts it.
    cdef Entry* line = &arena.directory[entry]
    cdef BatchHeader header
    cdef uint32_t seed
    arena.pages.take(<uint32_t>line.run, <uint32_t>(line.run >> 32))
    arena._count_pages(<int64_t>(line.run & LOW_HALF), -<int64_t>(line.run >> 32))
    arena.list_append(entry)
    arena.buffered_records += line.count & LOW_HALF
    if state_of(line) == STATE_OPEN:
        arena.open_batches += 1
    elif state_of(line) == STATE_SEALED:
        arena.sealed_batches += 1
    else:
        arena.stamped_batches += 1
        header.record_bytes = <uint32_t>line.commit
        header.record_count = <uint32_t>line.count
        header.codec = codec_of(line)
        header.base_timestamp_ms = line.base_timestamp_ms
        header.max_timestamp_ms = line.max_timestamp_ms
        header.producer_id = line.producer_id
        header.producer_epoch = line.sequence >> 32 & 0xFFFF
        header.base_sequence = <uint32_t>line.sequence
        seed = arena.content_seed(entry, generation_of(line))
        header_write(arena.run_start(entry), &header, seed, <uint32_t>(line.commit >> 32))


cdef void entries_derive(Directory arena, set damaged):
    # The stack of free entries: those that are FREE in the file. Damaged ones come back when they have been put aside.
    cdef int64_t index
    arena.free_entry_count = 0
    for index in range(arena.entry_count - 1, -1, -1):
        if state_of(&arena.directory[index]) == STATE_FREE and index not in damaged:
            arena.free_entries[arena.free_entry_count] = <int32_t>index
            arena.free_entry_count += 1


cdef void entry_reset(Directory arena, uint32_t entry):
    # FREE with a new generation, by one intent together with what the caller has added to it.
    cdef Identity line
    memset(&line, 0, sizeof(Identity))
    line.state = state_word(generation_of(&arena.directory[entry]) + 1, 0, STATE_FREE)
    arena.identity_stage(entry, &line)
    arena.intent_commit()


cdef void entry_give(Directory arena, uint32_t entry):
    entry_reset(arena, entry)
    arena.free_entries[arena.free_entry_count] = <int32_t>entry
    arena.free_entry_count += 1


cdef object quarantine(Directory arena, uint32_t entry, int64_t record_count, str reason):
    # The copy comes first: if we die before the entry is free, the next recovery copies again. Where it cannot be
    # made (no space), the entry stays as it is, out of use, and the next recovery tries again. What held a number of
    # records that is not known stays for the caller to free.
    cdef Entry* line = &arena.directory[entry]
    cdef uint64_t first = line.run & LOW_HALF
    cdef uint64_t count = line.run >> 32
    content = b""
    if count > 0 and first + count <= arena.header.page_count:
        # The length may itself be what is damaged: no more than the longest batch anybody sends.
        content = (arena.data + first * PAGE_BYTES)[:min(count, <uint64_t>QUARANTINE_PAGES_MAX) * PAGE_BYTES]
    try:
        path = quarantine_write(arena.path, (<const unsigned char*>line)[:sizeof(Entry)] + content)
    except OSError as error:
        if content and arena.pages.all_free(<uint32_t>first, <uint32_t>count):
            arena.pages.take(<uint32_t>first, <uint32_t>count)
            arena._count_pages(<int64_t>first, -<int64_t>count)
        if arena.identity_good(entry):
            arena.buffered_records += line.count & LOW_HALF
        return Damage(entry, record_count, f"{reason}; not put aside: {error}", "")
    if record_count > 0:
        arena.ledger_add(LEDGER_DROPPED + DROPPED_QUARANTINED, <uint64_t>record_count)
    if record_count >= 0:
        entry_give(arena, entry)
    return Damage(entry, record_count, reason, path)


def quarantine_write(path, content):
    """Writes `content` to the first free `<path>.quarantine-<n>` and returns its name."""
    number = 1
    while True:
        name = f"{path}.quarantine-{number}"
        try:
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            break
        except FileExistsError:
            number += 1
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
    except OSError:
        os.unlink(name)
        raise
    return name


cdef void books_close(Directory arena):
    # How many records a damaged entry held is not known; the books know: what was accepted and is nowhere else was in
    # it.
    cdef uint64_t known = arena.ledger[<int>LEDGER_DELIVERED] + <uint64_t>arena.buffered_records
    cdef uint32_t word
    for word in range(LEDGER_FAILED, LEDGER_DROPPED + 16):
        known += arena.ledger[word]
    if arena.ledger[<int>LEDGER_ACCEPTED] > known:
        arena.ledger_add(LEDGER_DROPPED + DROPPED_QUARANTINED, arena.ledger[<int>LEDGER_ACCEPTED] - known)
        arena.intent_commit()


cdef void open_seal(Directory arena, uint32_t entry):
    # As far as it was committed; a provenance run's stored count may go further, its readers stop at the batch's
    # record count.
    cdef unsigned char* start = arena.run_start(entry)
    cdef unsigned char* end = start + arena.run_bytes(entry)
    cdef Walker walker
    start += BATCH_HEADER_BYTES + <uint32_t>arena.directory[entry].commit
    walk_start(&walker, start, end, <uint32_t>arena.directory[entry].count)
    while walk_next(&walker):
        pass
    arena.seal_stage(entry, <uint32_t>(end - walker.at))
