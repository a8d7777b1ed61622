"""Answers to senders, made from the provenance of a batch: frames of the native protocol, per session and batch.

Only sessions that wait for the level "delivered" are named. PROTOCOL.md describes DELIVERED and FAILED and their runs.
"""
from libc.stdint cimport uint32_t, uint64_t

from ingestd.hotpath.arena cimport Arena
from ingestd.hotpath.layout cimport PROVENANCE_SESSION
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
