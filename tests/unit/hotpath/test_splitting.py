"""One batch too large for the broker becomes two: contents, senders, order, room."""

import zlib

import pytest

from ingestd.hotpath.arena import Arena, ArenaFull, ArenaStateError, BatchState
from ingestd.hotpath.splitting import split
from tests.model.arena_kit import NOW_MS, Sent, balanced, encode, run_bytes, session_run, small_arena
from tests.model.build_driver import load
from tests.reference.batch_decoder import decode_batch

driver = load()


def fill(arena: Arena, records: list[Sent], *, partition: int = 0, first: int = 1) -> int:
    """Entry of a sealed batch with these records of session row 0, from sequence ``first`` on."""
    writer = driver.Writer(arena)
    data = encode(records, records[0].timestamp_ms, 0)
    back = run_bytes(session_run(0, first, len(records)))
    handle = writer.open(1, partition, len(data) + len(back), len(data) + len(back), NOW_MS)
    times = [record.timestamp_ms for record in records]
    writer.write(handle, data, len(records), back, times[0], max(times))
    writer.commit([handle], {0: len(records), 1: len(records)})
    entry: int = writer.entry(handle)
    writer.seal(handle)
    arena.take_sealed()
    return entry


def sent(count: int, size: int = 20) -> list[Sent]:
    return [Sent(NOW_MS + (index * 7) % 5, b"k%d" % index, b"%d" % (index % 10) * size) for index in range(count)]


def values(arena: Arena, entry: int) -> list[tuple[bytes | None, int]]:
    return [(record.key, record.sequence) for record in arena.records(entry)]


def test_the_halves_have_all_records_their_senders_and_places_of_their_own_in_the_order() -> None:
    arena = small_arena(None)
    before = fill(arena, sent(3))
    entry = fill(arena, sent(10), first=11)
    after = fill(arena, sent(3))
    arena.stamp(entry, 7, 1, 40, 0, NOW_MS)
    first, second = split(arena, entry, 1)
    assert (first.state, second.state) == (BatchState.SEALED, BatchState.SEALED)
    assert values(arena, first.entry) + values(arena, second.entry) == [(b"k%d" % n, 11 + n) for n in range(10)]
    assert [batch.entry for batch in arena.recovered()] == [before, entry, second.entry, after]
    assert (arena.sealed_batches, arena.stamped_batches, arena.buffered_records) == (4, 0, 16)
    assert (first.producer_id, first.producer_epoch, first.base_sequence) == (7, 1, 40)
    assert (second.producer_id, second.producer_epoch, second.base_sequence) == (7, 1, 40 + first.record_count)
    assert (first.attempts, second.attempts, first.stamp_flags, second.stamp_flags) == (0, 0, 1, 1)
    assert first.created_ms == second.created_ms == arena.batch(before).created_ms
    arena.stamp(second.entry, 7, 1, 40 + first.record_count, 1, NOW_MS)
    with arena.view(second.entry) as view:
        decoded = decode_batch(bytes(view))
    assert decoded.record_count == second.record_count
    assert decoded.base_timestamp_ms == sent(10)[first.record_count].timestamp_ms
    arena.done(second.entry)
    arena.done(_stamped(arena, first.entry))
    assert balanced(arena)


def test_the_numbers_of_halves_wrap_with_their_sequence() -> None:
    arena = small_arena(None)
    entry = fill(arena, sent(10))
    arena.stamp(entry, 7, 1, (1 << 31) - 2, 0, NOW_MS)
    first, second = split(arena, entry, 0)
    assert (first.base_sequence, second.base_sequence) == ((1 << 31) - 2, first.record_count - 2)


def test_halves_of_what_never_had_numbers_have_none() -> None:
    arena = small_arena(None)
    for half in split(arena, fill(arena, sent(10)), 0):
        assert (half.producer_id, half.producer_epoch, half.base_sequence, half.first_send_ms) == (-1, -1, -1, 0)


def _stamped(arena: Arena, entry: int) -> int:
    arena.stamp(entry, 7, 1, 0, 0, NOW_MS)
    return entry


def test_split_again_and_again_every_record_is_alone_and_in_order() -> None:
    arena = small_arena(None, pages=64)
    fill(arena, sent(13))
    fill(arena, sent(1, 5), first=100)
    while any(batch.record_count > 1 for batch in arena.recovered()):
        split(arena, next(batch.entry for batch in arena.recovered() if batch.record_count > 1), 0)
    sequences = [values(arena, batch.entry)[0][1] for batch in arena.recovered()]
    assert sequences == [*range(1, 14), 100]
    with pytest.raises(ValueError, match="cannot split 1 records"):
        split(arena, arena.recovered()[0].entry, 0)


def test_a_large_record_among_small_ones_is_soon_alone() -> None:
    arena = small_arena(None, pages=40)
    records = [*sent(5), Sent(NOW_MS, None, bytes(20_000)), *sent(5)]
    first, second = split(arena, fill(arena, records), 0)
    assert (first.record_count, second.record_count) == (6, 5)
    small, large = split(arena, first.entry, 0)
    assert (small.record_count, large.record_count) == (5, 1)


def test_a_compressed_batch_is_split_plain() -> None:
    arena = small_arena(None)
    records = sent(8)
    entry = fill(arena, records)
    assert arena.compress(entry, zlib.compress(encode(records, NOW_MS, 0)), 1)
    first, second = split(arena, entry, 0, lambda _codec, data: zlib.decompress(data))
    assert (first.codec, second.codec) == (0, 0)
    assert len(values(arena, first.entry) + values(arena, second.entry)) == 8


def test_no_batch_that_somebody_looks_at_is_split() -> None:
    arena = small_arena(None)
    entry = fill(arena, sent(2))
    with arena.view(entry), pytest.raises(ArenaStateError):
        split(arena, entry, 0)
    split(arena, entry, 0)


def test_without_a_page_to_spare_it_stays_whole() -> None:
    arena = small_arena(None, pages=16, reserve_pages=1)
    entries = [fill(arena, sent(2, 1000), partition=index) for index in range(arena.page_count)]
    before = arena.batch(entries[0])
    with pytest.raises(ArenaFull, match="pages"):
        split(arena, entries[0], 0)
    assert arena.batch(entries[0]) == before
    assert (arena.free_pages, arena.free_reserve_pages) == (0, 1)
    arena.fail(entries[1], 1)
    split(arena, entries[0], 0)
    assert (arena.free_pages, arena.free_reserve_pages) == (0, 1)
