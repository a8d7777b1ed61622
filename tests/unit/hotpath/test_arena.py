"""A batch's life in the arena: filled, sealed, compressed, stamped, viewed, settled; and who may do what when."""

import gc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from ingestd.hotpath.arena import Arena, ArenaFull, ArenaStateError, BatchState
from tests.model.arena_kit import NOW_MS, Sent, balanced, encode, run_bytes, session_run, small_arena
from tests.model.build_driver import load
from tests.reference.batch_decoder import decode_batch

driver = load()
PAGE = 4096


def sent(count: int, size: int = 20) -> list[Sent]:
    """Distinct records, their timestamps not in order."""
    return [Sent(NOW_MS + (index * 7) % 5, b"k%d" % index, b"%d" % index * size) for index in range(count)]


def fill(arena: Arena, records: list[Sent], *, partition: int = 0, wanted: int = 0, first: int = 1) -> int:
    """Entry of a sealed batch with these records, all of session row 0."""
    writer = driver.Writer(arena)
    base_ms = records[0].timestamp_ms
    data = encode(records, base_ms, 0)
    back = run_bytes(session_run(0, first, len(records)))
    handle = writer.open(1, partition, len(data) + len(back), max(wanted, len(data) + len(back)), NOW_MS)
    assert handle >= 0
    writer.write(handle, data, len(records), back, base_ms, max(record.timestamp_ms for record in records))
    writer.commit([handle], {0: len(records), 1: len(records)})
    entry: int = writer.entry(handle)
    writer.seal(handle)
    return entry


def fill_rest(arena: Arena) -> None:
    """No page outside the reserve is left free."""
    while arena.free_pages:
        fill(arena, [Sent(NOW_MS, None, bytes(3500))])


def contents(arena: Arena, entry: int) -> bytes:
    """The batch as it would go to a broker."""
    with arena.view(entry) as view:
        return bytes(view)


def test_a_batch_goes_from_intake_to_kafka() -> None:
    arena = small_arena(None)
    records = sent(5)
    entry = fill(arena, records, partition=3)
    (batch,) = arena.take_sealed()
    assert arena.take_sealed() == []
    assert batch.state == BatchState.SEALED
    assert (batch.entry, batch.topic, batch.partition, batch.record_count) == (entry, 1, 3, 5)
    assert (batch.created_ms, batch.base_timestamp_ms, batch.max_timestamp_ms) == (NOW_MS, NOW_MS, NOW_MS + 4)
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (-1, -1, -1)
    arena.stamp(entry, 1 << 40, 3, 100, 5, NOW_MS)
    stamped = arena.batch(entry)
    assert (stamped.producer_id, stamped.producer_epoch, stamped.base_sequence) == (1 << 40, 3, 100)
    assert (stamped.stamp_flags, stamped.attempts, stamped.first_send_ms) == (5, 0, 0)
    whole = contents(arena, entry)
    assert len(whole) == batch.size_bytes
    decoded = decode_batch(whole)
    assert (decoded.producer_id, decoded.producer_epoch, decoded.base_sequence) == (1 << 40, 3, 100)
    assert decoded.records is not None
    assert [tuple(record[:3]) for record in decoded.records] == [tuple(record) for record in records]
    arena.attempted(entry, NOW_MS + 50)
    arena.attempted(entry, NOW_MS + 90)
    assert (arena.batch(entry).attempts, arena.batch(entry).first_send_ms) == (2, NOW_MS + 50)
    assert balanced(arena)
    assert arena.level > 0
    arena.done(entry)
    assert (arena.ledger()["delivered"], arena.buffered(), arena.level) == (5, 0, 0.0)
    assert arena.ledger()["delivered_bytes"] == batch.size_bytes - 61


def test_dispatch_is_a_stamp_and_its_first_attempt() -> None:
    one, two = small_arena(None), small_arena(None)
    records = sent(5)
    entry = fill(one, records)
    assert fill(two, records) == entry
    one.stamp(entry, 1 << 40, 3, 100, 5, NOW_MS)
    one.attempted(entry, NOW_MS)
    with two.dispatch(entry, 1 << 40, 3, 100, 5, NOW_MS) as view:
        assert two.view_count(entry) == 1
        decoded = decode_batch(bytes(view))
    assert (decoded.producer_id, decoded.producer_epoch, decoded.base_sequence) == (1 << 40, 3, 100)
    assert one.batch(entry) == two.batch(entry)
    assert (one.sealed_batches, one.stamped_batches) == (two.sealed_batches, two.stamped_batches) == (0, 1)
    one.close()
    two.close()


def test_a_producer_without_idempotence_stamps_minus_one() -> None:
    arena = small_arena(None)
    entry = fill(arena, sent(1))
    arena.stamp(entry, -1, -1, -1, 0, NOW_MS)
    decoded = decode_batch(contents(arena, entry))
    assert (decoded.producer_id, decoded.producer_epoch, decoded.base_sequence) == (-1, -1, -1)


@pytest.mark.parametrize("numbers", [(1, 32768, 0, 0), (-2, 0, 0, 0), (1, 0, 1 << 31, 0), (1, 0, 0, 1 << 16)])
def test_a_stamp_that_does_not_fit_is_refused(numbers: tuple[int, int, int, int]) -> None:
    arena = small_arena(None)
    entry = fill(arena, sent(1))
    with pytest.raises(ValueError, match="no stamp"):
        arena.stamp(entry, *numbers, NOW_MS)
    assert arena.batch(entry).state == BatchState.SEALED


def test_the_header_is_kafkas_golden_batch() -> None:
    arena = small_arena(None)
    entry = fill(arena, [Sent(NOW_MS, b"a", b"1"), Sent(NOW_MS + 1, b"b", b"22")])
    arena.stamp(entry, 4242, 3, 100, 0, NOW_MS)
    golden = (
        "000000000000000000000044ffffffff026a87084f0000000000010000018bcfe568000000018bcfe568010000000000001092"
        "0003000000640000000210000000026102310012000202026204323200"
    )
    assert contents(arena, entry).hex() == golden


def test_compressed_records_take_the_place_of_the_plain_ones() -> None:
    arena = small_arena(None, pages=40)
    records = sent(200, 60)
    entry = fill(arena, records)
    before = arena.batch(entry)
    with arena.view(entry) as view:
        payload = zlib.compress(bytes(view[61:]))
        with pytest.raises(ArenaStateError, match="views"):
            arena.compress(entry, payload, 1)
    runs = arena.provenance(entry)
    free_pages = arena.free_pages
    assert arena.compress(entry, payload, 1)
    assert arena.free_pages > free_pages
    batch = arena.batch(entry)
    assert batch == before._replace(codec=1, size_bytes=61 + len(payload))
    assert arena.provenance(entry) == runs
    arena.stamp(entry, 1, 0, 0, 0, NOW_MS)
    decoded = decode_batch(contents(arena, entry))
    assert (decoded.attributes, decoded.payload, decoded.record_count) == (1, payload, 200)
    got = arena.records(entry, lambda _codec, data: zlib.decompress(data))
    assert [(record.key, record.value) for record in got] == [(record.key, record.value) for record in records]
    with pytest.raises(ValueError, match="codec 1"):
        arena.records(entry)


def test_compression_without_a_page_for_it_leaves_the_batch_as_it_is() -> None:
    arena = small_arena(None, pages=16, reserve_pages=1)
    entries = [fill(arena, [Sent(NOW_MS, None, bytes(3500))], partition=index) for index in range(arena.page_count)]
    assert arena.free_pages == 0
    before = arena.batch(entries[0])
    assert not arena.compress(entries[0], bytes(5000), 4)
    assert arena.batch(entries[0]) == before
    assert arena.compress(entries[0], bytes(100), 4)
    assert arena.batch(entries[0]) == before._replace(codec=4, size_bytes=161)


def test_what_was_compressed_in_a_full_arena_leaves_the_reserve() -> None:
    arena = small_arena(None, pages=40, reserve_pages=2)
    entries = [fill(arena, [Sent(NOW_MS, None, bytes(7000))], partition=index) for index in range(12)]
    fill_rest(arena)
    runs = arena.provenance(entries[3])
    # One that shrinks, one that does not: neither may cost the reserve a page.
    for entry, size in zip(entries, [3000, 5000] * 6, strict=True):
        assert arena.compress(entry, bytes(size), 4)
        assert arena.free_reserve_pages == 2
    assert contents(arena, entries[3])[61:] == bytes(5000)
    assert arena.provenance(entries[3]) == runs
    assert arena.free_pages == 6
    assert balanced(arena)


def test_a_full_arena_of_compressed_batches_can_still_be_repaired() -> None:
    arena = small_arena(None, pages=40, reserve_pages=2)
    records = [Sent(NOW_MS, None, bytes(3400))] * 2
    plain = encode(records, NOW_MS, 0)
    entries = [fill(arena, records, partition=index) for index in range(arena.page_count // 2)]
    for entry in entries:
        assert arena.compress(entry, zlib.compress(plain, 0)[:6000], 4)
    fill_rest(arena)
    for entry in entries:
        assert arena.repair(entry, [0], 1, lambda _codec, _data: plain).record_count == 1
        assert arena.free_reserve_pages == 2
    assert balanced(arena)


def test_intake_cannot_touch_the_reserve() -> None:
    arena = small_arena(None, pages=20, reserve_pages=6)
    writer = driver.Writer(arena)
    opened = 0
    while writer.open(0, opened, 3000, 3000, NOW_MS) >= 0:
        opened += 1
    assert opened == arena.page_count
    assert (arena.free_pages, arena.free_reserve_pages) == (0, 6)
    assert arena.level == 1.0


def test_one_batch_gets_a_share_of_the_free_pages_but_never_less_than_it_needs() -> None:
    arena = small_arena(None, pages=320)
    writer = driver.Writer(arena)
    greedy = writer.open(0, 0, 100, 1 << 20, NOW_MS)
    assert PAGE < writer.run_bytes(greedy) <= arena.page_count // 16 * PAGE
    large = writer.open(0, 1, 600_000, 1 << 20, NOW_MS)
    assert 600_061 <= writer.run_bytes(large) < 600_061 + PAGE
    assert writer.open(0, 2, 900_000, 900_000, NOW_MS) == -1
    modest = writer.open(0, 3, 100, 5000, NOW_MS)
    assert writer.run_bytes(modest) == 2 * PAGE


def test_low_pages_are_used_first() -> None:
    arena = small_arena(None)
    first = fill(arena, sent(1))
    second = fill(arena, sent(1), partition=1)
    arena.fail(first, 1)
    third = fill(arena, sent(1), partition=2)
    assert third == first
    arena.fail(second, 1)
    arena.fail(third, 1)
    assert arena.free_pages == arena.page_count


def test_sealing_gives_the_tail_back_and_keeps_the_provenance() -> None:
    arena = small_arena(None, pages=200)
    entry = fill(arena, sent(3), wanted=8 * PAGE)
    assert arena.page_count - arena.free_pages == 1
    (run,) = arena.provenance(entry)
    assert (run.kind, run.sender, run.first_sequence, run.record_count) == (2, 0, 1, 3)
    assert [record.sequence for record in arena.records(entry)] == [1, 2, 3]


def test_a_tail_that_provenance_would_be_copied_over_stays() -> None:
    arena = small_arena(None, pages=200)
    writer = driver.Writer(arena)
    handle = writer.open(0, 0, 100, 3 * PAGE - 61, NOW_MS)
    assert writer.run_bytes(handle) == 3 * PAGE
    senders = b"".join(run_bytes(session_run(row, 1, 1)) for row in reversed(range(250)))
    data = encode([Sent(NOW_MS, None, None)] * 250, NOW_MS, 0)
    # Would fit two pages, but the copy's place and its source have bytes in common.
    assert PAGE < 61 + len(data) + len(senders) < 2 * PAGE
    assert len(senders) > PAGE
    writer.write(handle, data, 250, senders, NOW_MS, NOW_MS)
    writer.commit([handle], {1: 250})
    entry = writer.entry(handle)
    writer.seal(handle)
    assert arena.page_count - arena.free_pages == 3
    assert [run.sender for run in arena.provenance(entry)] == list(range(250))


def test_an_empty_batch_never_seals() -> None:
    arena = small_arena(None)
    writer = driver.Writer(arena)
    handle = writer.open(0, 0, 100, 100, NOW_MS)
    assert arena.free_pages == arena.page_count - 1
    writer.seal(handle)
    assert arena.take_sealed() == []
    assert arena.free_pages == arena.page_count
    assert (arena.open_batches, arena.sealed_batches) == (0, 0)


def test_reads_commit_several_batches_at_once() -> None:
    arena = small_arena(None, pages=100)
    writer = driver.Writer(arena)
    handles = [writer.open(0, partition, 200, 200, NOW_MS) for partition in range(40)]
    for handle in handles:
        writer.write(handle, encode(sent(1), NOW_MS, 0), 1, run_bytes(session_run(0, 1, 1)), NOW_MS, NOW_MS)
    assert arena.buffered() == 0
    writer.commit(handles, {0: 40, 1: 40})
    assert arena.buffered() == 40
    assert arena.open_batches == 40
    assert balanced(arena)


def test_the_intent_has_room_for_a_read() -> None:
    """And for more first commits than intake makes with one."""
    arena = small_arena(None, pages=100)
    writer = driver.Writer(arena)
    handles = [writer.open(0, partition, 200, 200, NOW_MS) for partition in range(62)]
    for handle in handles:
        writer.write(handle, encode(sent(1), NOW_MS, 0), 1, run_bytes(session_run(0, 1, 1)), NOW_MS, NOW_MS)
    writer.commit(handles, {0: 62, 1: 62})
    assert balanced(arena)
    assert arena.buffered() == 62


def test_pages_come_back_when_the_last_view_goes() -> None:
    arena = small_arena(None)
    entry = fill(arena, sent(2))
    arena.stamp(entry, 1, 0, 0, 0, NOW_MS)
    first, second = arena.view(entry), arena.view(entry)
    part = first[61:70]
    assert arena.view_count(entry) == 2
    before = bytes(second)
    arena.done(entry)
    assert arena.ledger()["delivered"] == 2
    assert (arena.buffered(), arena.buffered_records) == (0, 0)
    assert arena.free_pages == arena.page_count - 1
    for partition in range(5):
        fill(arena, sent(2), partition=partition)
    assert bytes(second) == before
    first.release()
    second.release()
    assert arena.view_count(entry) == 1
    free_pages = arena.free_pages
    del part
    gc.collect()
    assert arena.free_pages == free_pages + 1


def test_a_view_in_a_garbage_cycle_is_given_back() -> None:
    """The collector clears what hangs on the cycle before the view is released."""
    arena = small_arena(None)
    entry = fill(arena, sent(2))
    ring: list[object] = [arena.dispatch(entry, 1, 0, 0, 0, NOW_MS)]
    ring.append(ring)
    arena.done(entry)
    assert arena.free_pages == arena.page_count - 1
    del ring
    gc.collect()
    assert arena.free_pages == arena.page_count


@pytest.mark.parametrize("order", ["view first", "arena first"])
def test_an_arena_that_is_garbage_with_its_views_is_closed(tmp_path: Path, order: str) -> None:
    """Whichever of both the collector comes to first; nothing of them stays."""
    path = tmp_path / "a"
    arena = small_arena(path)
    entry = fill(arena, sent(2))
    views = [arena.dispatch(entry, 1, 0, 0, 0, NOW_MS), arena.view(entry)]
    arena.done(entry)
    ring: list[object] = [*views, arena] if order == "view first" else [arena, *views]
    ring.append(ring)
    del arena, views, ring
    gc.collect()
    again = Arena.open(path, now_ms=NOW_MS)
    assert again.buffered() == 0
    assert again.ledger()["delivered"] == 2
    again.close()


def test_a_view_given_back_in_the_middle_of_a_read_does_not_publish_the_read() -> None:
    arena = small_arena(None)
    writer = driver.Writer(arena)
    entry = fill(arena, sent(2))
    arena.stamp(entry, 1, 0, 0, 0, NOW_MS)
    view = arena.view(entry)
    arena.done(entry)
    writer.stage(0, 5)
    frees = arena.frees
    view.release()
    assert arena.ledger()["received"] == 2
    assert arena.frees == frees
    writer.commit([])
    assert arena.ledger()["received"] == 7
    assert arena.frees == frees + 1
    assert arena.emptied
    assert arena.free_pages == arena.page_count


def test_a_view_cannot_be_written_through() -> None:
    arena = small_arena(None)
    view = arena.view(fill(arena, sent(2)))
    assert view.readonly
    with pytest.raises(TypeError):
        view[0] = 1


def test_close_waits_for_views() -> None:
    arena = small_arena(None)
    view = arena.view(fill(arena, sent(2)))
    with pytest.raises(ArenaStateError, match="1 views"):
        arena.close()
    view.release()
    arena.close()
    arena.close()
    with pytest.raises(ArenaStateError):
        arena.batch(0)


Act = Callable[[Arena, int], object]
ACTS: dict[str, Act] = {
    "compress": lambda arena, entry: arena.compress(entry, b"x", 4),
    "stamp": lambda arena, entry: arena.stamp(entry, 1, 0, 0, 0, NOW_MS),
    "dispatch": lambda arena, entry: arena.dispatch(entry, 1, 0, 0, 0, NOW_MS),
    "restamp": lambda arena, entry: arena.restamp(entry, 1, 0, 0, 0, NOW_MS),
    "attempted": lambda arena, entry: arena.attempted(entry, NOW_MS),
    "done": lambda arena, entry: arena.done(entry),
    "fail": lambda arena, entry: arena.fail(entry, 1),
    "repair": lambda arena, entry: arena.repair(entry, [0], 1),
    "view": lambda arena, entry: arena.view(entry),
}
ALLOWED = {
    BatchState.OPEN: set[str](),
    BatchState.SEALED: {"compress", "stamp", "dispatch", "fail", "repair", "view"},
    BatchState.STAMPED: {"restamp", "attempted", "done", "fail", "repair", "view"},
    BatchState.DONE: set[str](),
    BatchState.FREE: set[str](),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("state", ALLOWED)
def test_every_move_asserts_the_old_state(state: BatchState, act: str) -> None:
    arena = small_arena(None)
    entry = fill(arena, sent(3))
    held = None
    if state == BatchState.OPEN:
        writer = driver.Writer(arena)
        handle = writer.open(0, 0, 100, 100, NOW_MS)
        writer.write(handle, encode(sent(1), NOW_MS, 0), 1, run_bytes(session_run(0, 1, 1)), NOW_MS, NOW_MS)
        writer.commit([handle], {1: 1})
        entry = writer.entry(handle)
    if state in (BatchState.STAMPED, BatchState.DONE, BatchState.FREE):
        arena.stamp(entry, 1, 0, 0, 0, NOW_MS)
    if state == BatchState.DONE:
        held = arena.view(entry)
    if state in (BatchState.DONE, BatchState.FREE):
        arena.done(entry)
    if act in ALLOWED[state]:
        ACTS[act](arena, entry)
    else:
        with pytest.raises(ArenaStateError, match=state.name):
            ACTS[act](arena, entry)
    assert balanced(arena)
    del held


@pytest.mark.parametrize("act", ["compress", "restamp", "repair"])
def test_bytes_that_are_being_sent_are_not_changed(act: str) -> None:
    arena = small_arena(None)
    entry = fill(arena, sent(3))
    if act == "restamp":
        arena.stamp(entry, 1, 0, 0, 0, NOW_MS)
    view = arena.view(entry)
    before = bytes(view)
    with pytest.raises(ArenaStateError, match="still held"):
        ACTS[act](arena, entry)
    assert bytes(view) == before
    view.release()
    ACTS[act](arena, entry)


def test_entries_outside_the_directory_are_refused() -> None:
    arena = small_arena(None)
    for entry in (-1, 1 << 20, 1 << 40):
        with pytest.raises(ArenaStateError, match="no batch"):
            arena.batch(entry)


def test_repair_takes_bad_records_out() -> None:
    arena = small_arena(None)
    records = sent(6)
    entry = fill(arena, records, first=11)
    arena.stamp(entry, 1, 0, 50, 0, NOW_MS)
    batch = arena.repair(entry, [0, 3], 1)
    kept = [records[index] for index in (1, 2, 4, 5)]
    assert (batch.state, batch.record_count, batch.entry) == (BatchState.SEALED, 4, entry)
    assert batch.base_timestamp_ms == kept[0].timestamp_ms
    assert batch.max_timestamp_ms == max(record.timestamp_ms for record in kept)
    assert arena.ledger()["failed.1"] == 2
    assert balanced(arena)
    assert [record.sequence for record in arena.records(entry)] == [12, 13, 15, 16]
    (run,) = arena.provenance(entry)
    assert (run.first_sequence, run.record_count, run.gaps) == (12, 4, b"\x00\x01\x00")
    arena.stamp(entry, 1, 1, 0, 0, NOW_MS)
    decoded = decode_batch(contents(arena, entry))
    assert decoded.records is not None
    assert [tuple(record[:3]) for record in decoded.records] == [tuple(record) for record in kept]
    assert (arena.sealed_batches, arena.stamped_batches) == (0, 1)


@pytest.mark.parametrize("bad", [[], [0, 1, 2], [3], [-1]])
def test_repair_refuses_what_makes_no_sense(bad: list[int]) -> None:
    arena = small_arena(None)
    entry = fill(arena, sent(3))
    with pytest.raises(ValueError, match="cannot repair"):
        arena.repair(entry, bad, 1)
    assert balanced(arena)


def test_repair_without_pages_changes_nothing() -> None:
    arena = small_arena(None, pages=16, reserve_pages=0)
    big = [Sent(NOW_MS, None, bytes(1700))] * 2
    entries = [fill(arena, big, partition=index) for index in range(arena.page_count)]
    before = arena.batch(entries[0])
    with pytest.raises(ArenaFull):
        arena.repair(entries[0], [1], 1)
    assert arena.batch(entries[0]) == before
    assert arena.ledger()["failed"] == 0
    arena.fail(entries[1], 2)
    assert arena.repair(entries[0], [1], 1).record_count == 1
    assert balanced(arena)


def test_a_repair_is_told_once_it_is_sure_and_before_it_happens() -> None:
    arena = small_arena(None, pages=16, reserve_pages=0)
    entries = [fill(arena, sent(2, 1000), partition=index) for index in range(arena.page_count)]
    told: list[int] = []

    def tell() -> None:
        told.append(arena.batch(entries[0]).record_count)

    with pytest.raises(ArenaFull):
        arena.repair(entries[0], [1], 1, None, tell)
    assert told == []
    arena.fail(entries[1], 2)
    arena.repair(entries[0], [1], 1, None, tell)
    assert told == [2]


def test_who_cannot_tell_of_a_repair_stops_it() -> None:
    arena = small_arena(None)
    entry = fill(arena, sent(2))
    before = arena.batch(entry), arena.free_pages, arena.ledger()

    def tell() -> None:
        raise OSError("no space for dead letters")

    with pytest.raises(OSError, match="no space"):
        arena.repair(entry, [1], 1, None, tell)
    assert (arena.batch(entry), arena.free_pages, arena.ledger()) == before
    assert arena.repair(entry, [1], 1).record_count == 1
    assert balanced(arena)


def test_only_a_drained_arena_is_absorbed_and_only_once() -> None:
    arena, other = small_arena(None), small_arena(None)
    entry = fill(other, sent(4))
    with pytest.raises(ValueError, match="empty"):
        arena.absorb(other)
    other.stamp(entry, 1, 0, 0, 0, NOW_MS)
    other.done(entry)
    other.session_open(b"o" * 16, NOW_MS)
    other.session_disconnected(0, NOW_MS)
    arena.session_open(b"p" * 16, NOW_MS)
    arena.book(0, 7)
    for _ in range(2):
        arena.absorb(other)
        assert (arena.ledger()["received"], arena.ledger()["delivered"]) == (11, 4)
        assert [session.session_id for session in arena.sessions()] == [b"p" * 16, b"o" * 16]
        assert other.ledger()["received"] == 0


def test_sessions_of_a_drained_arena_resume_here() -> None:
    arena, other = small_arena(None, session_capacity=2), small_arena(None)
    for index in range(4):
        other.session_open(bytes([65 + index]) * 16, NOW_MS)
        other.session_disconnected(index, NOW_MS - 10 * index)
    other.session_disconnected(3, 0)
    arena.session_open(b"old" + bytes(13), NOW_MS)
    arena.session_disconnected(0, NOW_MS - 100)
    driver.Writer(other).commit([], {}, {3: 77})
    arena.adopt_sessions(other)
    found = {session.session_id[:1]: session.last_accepted for session in arena.sessions()}
    assert found == {b"D": 77, b"A": 0}
    ended = arena.session_find(b"D" * 16)
    assert ended is not None
    arena.session_close(ended.index)
    # There is room now for one that found none.
    arena.absorb(other)
    assert {session.session_id[:1] for session in arena.sessions()} == {b"A", b"B"}


def test_arenas_are_not_made_by_calling() -> None:
    with pytest.raises(TypeError, match="create"):
        Arena()
