"""Makes two batches of one that is too large for the broker. Not on the way to Kafka: decoding it is Python."""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ingestd.hotpath.arena cimport Arena
from ingestd.hotpath.crc32c cimport crc32c_update
from ingestd.hotpath.directory cimport Identity, Stamp, generation_of, run_word, state_of, state_word
from ingestd.hotpath.geometry cimport whole_pages
from ingestd.hotpath.layout cimport (
    BATCH_HEADER_BYTES, BATCH_NUMBERS, PAGE_BYTES, STATE_SEALED, STATE_STAMPED,
)

from ingestd.hotpath.errors import ArenaFull
from ingestd.hotpath.records import halved

cdef uint64_t SEQUENCE_BITS = 0x7FFFFFFFu
cdef uint64_t EPOCH_BITS = <uint64_t>0xFFFF << 32


def split(Arena arena not None, entry, flags, decompress=None):
    """One SEALED or STAMPED batch becomes two SEALED ones, uncompressed, by one intent; returns both (`Batch`).

    The first keeps the entry, the second follows it at once in the order of their partition. The numbers of a stamp go
    on in the lines of both, each with those of its own records. `flags`: of the stamp that both will have; kept until
    then. ArenaFull: no pages or no entry for it now; ValueError: it has one record.
    """
    cdef uint32_t index = arena._expect(entry, 1u << STATE_SEALED | 1u << STATE_STAMPED)
    cdef bint stamped = state_of(&arena.directory[index]) == STATE_STAMPED
    cdef uint64_t old_run = arena.directory[index].run
    cdef uint32_t other
    cdef int64_t number
    count = arena.directory[index].count & 0xFFFFFFFFu
    if count < 2 or not 0 <= flags <= 0xFFFF:
        raise ValueError(f"cannot split {count} records with flags {flags}")
    arena._unseen(index)
    first, second = halved(
        arena._payload(index, decompress), count, arena.directory[index].base_timestamp_ms, arena._runs(index))
    number = arena.directory[index].number + <int64_t>first.record_count
    if arena.free_entry_count == 0 or not number_free(arena, index, number):
        raise ArenaFull("no entry for half a batch")
    first_run = run_for(arena, first)
    try:
        second_run = run_for(arena, second)
    except ArenaFull:
        arena.run_give(first_run)
        raise
    arena.free_entry_count -= 1
    other = arena.free_entries[arena.free_entry_count]
    half_stage(arena, index, index, first, first_run, arena.directory[index].number, 0, flags)
    half_stage(arena, other, index, second, second_run, number, <uint32_t>first.record_count, flags)
    arena.intent_commit()
    arena.run_give(old_run)
    arena.list_insert(other, index)
    arena.sealed_batches += 2 if stamped else 1
    arena.stamped_batches -= 1 if stamped else 0
    arena._leave_reserve(index)
    arena._leave_reserve(other)
    return arena._snapshot(index), arena._snapshot(other)


cdef bint number_free(Arena arena, uint32_t entry, int64_t number):
    # Numbers are the order within a partition; those of an older layout stand side by side.
    cdef int32_t later = arena.newer[entry]
    if number // BATCH_NUMBERS != arena.directory[entry].number // BATCH_NUMBERS:
        return False
    while later >= 0 and arena.directory[later].number <= number:
        if arena.directory[later].route == arena.directory[entry].route:
            return False
        later = arena.newer[later]
    return True


cdef uint64_t run_for(Arena arena, part) except? 0:
    cdef uint32_t pages = <uint32_t>whole_pages(
        <uint64_t>BATCH_HEADER_BYTES + <uint64_t>len(part.payload) + <uint64_t>len(part.provenance))
    cdef int64_t first = arena.run_take(pages)
    if first < 0:
        raise ArenaFull("no pages to split the batch")
    return run_word(first, pages)


# Fills a run that nobody reads yet with `part`, and stages the lines that make it the batch of `entry`, a part of the
# one in `whole`, from its record `offset` on.
cdef int half_stage(Arena arena, uint32_t entry, uint32_t whole, part, uint64_t run, int64_t number, uint32_t offset,
                    uint64_t flags) except -1:
    cdef const unsigned char[::1] payload = part.payload
    cdef bytes provenance = part.provenance
    cdef uint32_t size = <uint32_t>payload.shape[0]
    cdef uint32_t tail = <uint32_t>len(provenance)
    cdef unsigned char* start = arena.data + (run & 0xFFFFFFFFu) * PAGE_BYTES
    cdef unsigned char* back = start + (run >> 32) * PAGE_BYTES - tail
    cdef uint32_t generation = generation_of(&arena.directory[entry])
    cdef uint32_t crc
    cdef Identity line
    cdef Stamp stamp
    memcpy(start + BATCH_HEADER_BYTES, &payload[0], size)
    memcpy(back, <const unsigned char*>provenance, tail)
    crc = crc32c_update(arena.content_seed(entry, generation), start + BATCH_HEADER_BYTES, size)
    arena.identity_read(whole, &line)
    line.state = state_word(generation, 0, STATE_SEALED)
    line.run = run
    line.commit = <uint64_t>crc << 32 | size
    line.count = part.record_count
    line.number = number
    line.base_timestamp_ms = part.base_timestamp_ms
    line.max_timestamp_ms = part.max_timestamp_ms
    arena.stamp_read(whole, &stamp)
    if stamp.producer_id < 0:
        stamp.sequence = 0
    else:
        stamp.sequence = (stamp.sequence & EPOCH_BITS) | ((stamp.sequence + offset) & SEQUENCE_BITS)
    stamp.sequence |= flags << 48
    stamp.attempts = 0
    stamp.provenance = <uint64_t>crc32c_update(arena.seed, back, tail) << 32 | tail
    arena.identity_stage(entry, &line)
    arena.stamp_stage(entry, &stamp)
    return 0
