"""Answers made from provenance: byte for byte what PROTOCOL.md says, for every session that waits for them, and for
nobody else.
"""

import struct
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.hotpath.arena import Arena, Run
from ingestd.hotpath.provenance import SessionScan, delivered_frames, failed_frames
from tests.model.arena_kit import NOW_MS, Sent, encode, run_bytes, session_run, small_arena
from tests.model.build_driver import load

driver = load()


class Answer(NamedTuple):
    """A run of a DELIVERED or FAILED frame."""

    first_sequence: int
    record_count: int
    offset_delta: int
    gaps: bytes


def batch_of(arena: Arena, *runs: Run) -> int:
    """Entry of a sealed batch of partition 7 with these runs."""
    writer = driver.Writer(arena)
    count = sum(run.record_count for run in runs)
    back = b"".join(run_bytes(run) for run in reversed(runs))
    data = encode([Sent(NOW_MS, None, b"v")] * count, NOW_MS, 0)
    handle = writer.open(0, 7, len(data) + len(back), 0, NOW_MS)
    writer.write(handle, data, count, back, NOW_MS, NOW_MS)
    writer.commit([handle], {1: count})
    entry: int = writer.entry(handle)
    writer.seal(handle)
    return entry


def read_runs(data: bytes) -> list[Answer]:
    """The runs at the end of a frame."""
    (count,) = struct.unpack_from("<I", data)
    at = 4
    runs = []
    for _ in range(count):
        first, records, delta, size = struct.unpack_from("<QIII", data, at)
        at += 20
        runs.append(Answer(first, records, delta, data[at : at + size]))
        at += size
    assert at == len(data)
    return runs


CONNECTION = Run(2, 1, 99, 0, 3, 0, b"", False)
DEVICE = Run(3, 5, b"0123456789abcdef\x8a\x15", 0, 2, 0, b"", False)


def test_provenance_comes_back_as_it_was_written() -> None:
    arena = small_arena(None)
    runs = [
        session_run(3, 1 << 40, 3, gaps=b"\x00\x81\x01"[1:] + b"\x05"),
        CONNECTION,
        DEVICE,
        Run(4, 3, 0, 0, 1, 0, b"", False),
        Run(5, 4, b"\x7f\x00\x00\x01\x39\x30", 0, 1, 0, b"", False),
        session_run(4, 9, 2, delivered=False),
    ]
    got = arena.provenance(batch_of(arena, *runs))
    firsts = [0, 3, 6, 8, 9, 10]
    assert got == [run._replace(first_index=first) for run, first in zip(runs, firsts, strict=True)]


def test_delivered_names_every_waiting_session_once() -> None:
    arena = small_arena(None)
    entry = batch_of(
        arena,
        session_run(2, 10, 3, gaps=b"\x01\x80\x02"),
        CONNECTION,
        session_run(5, 1, 1),
        session_run(2, 300, 2),
        session_run(6, 1, 4, delivered=False),
    )
    frames = dict(delivered_frames(arena, entry, b"orders", 1 << 33, -1))
    assert list(frames) == [2, 5]
    head = struct.pack("<BBHiqqH6s", 0x44, 0, 0, 7, 1 << 33, -1, 6, b"orders")
    for row, expected in (
        (2, [Answer(10, 3, 0, b"\x01\x80\x02"), Answer(300, 2, 7, b"")]),
        (5, [Answer(1, 1, 6, b"")]),
    ):
        (length,) = struct.unpack_from("<I", frames[row])
        assert length == len(frames[row]) - 4
        assert frames[row][4 : 4 + len(head)] == head
        assert read_runs(frames[row][4 + len(head) :]) == expected


def test_failed_says_why() -> None:
    arena = small_arena(None)
    entry = batch_of(arena, session_run(2, 10, 3), CONNECTION)
    ((row, frame),) = failed_frames(arena, entry, b"orders", 3, -1, True, b"topic denied")
    head = struct.pack(
        "<IBBHiHhBBH6sH12s", len(frame) - 4, 0x45, 0, 0, 7, 3, -1, 1, 0, 6, b"orders", 12, b"topic denied"
    )
    assert row == 2
    assert frame[: len(head)] == head
    assert read_runs(frame[len(head) :]) == [Answer(10, 3, 0, b"")]


def test_some_records_of_a_batch_can_fail_alone() -> None:
    arena = small_arena(None)
    entry = batch_of(arena, CONNECTION, session_run(2, 10, 4, gaps=b"\x00\x05\x00"), session_run(3, 1, 2))
    frames = dict(failed_frames(arena, entry, b"t", 1, 87, False, b"", [0, 4, 5, 7]))
    assert list(frames) == [2, 3]
    size = 4 + 4 + 4 + 2 + 2 + 2 + 2 + 1 + 2
    assert read_runs(frames[2][size:]) == [Answer(11, 1, 0, b""), Answer(17, 1, 0, b"")]
    assert read_runs(frames[3][size:]) == [Answer(1, 1, 0, b"")]


@pytest.mark.parametrize("records", [1, 2, 5, 9])
def test_a_count_beyond_what_is_committed_is_clipped(records: int) -> None:
    arena = small_arena(None)
    writer = driver.Writer(arena)
    handle = writer.open(0, 7, 300, 0, NOW_MS)
    run = run_bytes(session_run(1, 50, 9, gaps=b"\x01" * 8))
    writer.write(handle, encode([Sent(NOW_MS, None, b"v")] * records, NOW_MS, 0), records, run, NOW_MS, NOW_MS)
    writer.commit([handle], {1: records})
    entry = writer.entry(handle)
    for _ in range(2):
        (got,) = arena.provenance(entry)
        assert (got.record_count, got.gaps) == (records, b"\x01" * (records - 1))
        if arena.batch(entry).state == 1:
            writer.seal(handle)
    ((_, frame),) = delivered_frames(arena, entry, b"", 0, 0)
    assert read_runs(frame[4 + 4 + 20 + 2 :]) == [Answer(50, records, 0, b"\x01" * (records - 1))]


@pytest.mark.parametrize("garbage", [b"", b"\x00" * 40, b"\x09" * 40, b"\xff" * 40, bytes(range(40))])
def test_provenance_that_makes_no_sense_names_nobody(garbage: bytes) -> None:
    arena = small_arena(None)
    writer = driver.Writer(arena)
    handle = writer.open(0, 7, 4000, 0, NOW_MS)
    writer.write(handle, encode([Sent(NOW_MS, None, b"v")], NOW_MS, 0), 1, garbage, NOW_MS, NOW_MS)
    writer.commit([handle], {1: 1})
    entry = writer.entry(handle)
    writer.seal(handle)
    assert all(run.record_count <= 1 for run in arena.provenance(entry))
    assert len(list(arena.records(entry))) == 1


def numbers(stretches: list[tuple[int, int]]) -> list[int]:
    return [number for first, last in stretches for number in range(first, last + 1)]


def test_a_scan_finds_the_batches_and_sequences_of_one_session_only() -> None:
    arena = small_arena(None)
    first = batch_of(arena, session_run(2, 10, 3, gaps=b"\x01\x02"), session_run(5, 1, 4), CONNECTION)
    second = batch_of(arena, session_run(5, 5, 2), session_run(6, 1, 4, delivered=False))
    third = batch_of(arena, session_run(2, 11, 1), session_run(2, 13, 2))
    scan = SessionScan(arena)
    for _ in range(2):
        # Ranges that touch are one, whatever batches they are in.
        assert scan.find(2) == ([first, third], [(10, 15)])
        assert scan.find(5) == ([first, second], [(1, 6)])
        assert scan.find(6) == scan.find(66) == scan.find(99) == ([], [])


def test_a_scan_sees_what_an_open_batch_has_committed_and_what_came_since() -> None:
    arena = small_arena(None)
    writer = driver.Writer(arena)
    scan = SessionScan(arena)
    handle = writer.open(0, 7, 300, 0, NOW_MS)
    entry = writer.entry(handle)
    data = encode([Sent(NOW_MS, None, b"v")], NOW_MS, 0)
    writer.write(handle, data, 1, run_bytes(session_run(1, 50, 1)), NOW_MS, NOW_MS)
    assert scan.find(1) == ([], [])
    writer.commit([handle], {1: 1})
    assert (scan.find(1), scan.find(2)) == (([entry], [(50, 50)]), ([], []))
    writer.write(handle, data, 1, run_bytes(session_run(2, 9, 1)), NOW_MS, NOW_MS)
    writer.commit([handle], {1: 2})
    writer.seal(handle)
    assert scan.find(2) == ([entry], [(9, 9)])


def test_a_scan_forgets_what_was_settled_and_knows_a_reused_entry() -> None:
    arena = small_arena(None)
    scan = SessionScan(arena)
    entry = batch_of(arena, session_run(2, 10, 3))
    assert scan.find(2) == ([entry], [(10, 12)])
    arena.stamp(entry, 1, 0, 0, 0, NOW_MS)
    assert scan.find(2) == ([entry], [(10, 12)])
    arena.done(entry)
    assert scan.find(2) == ([], [])
    assert batch_of(arena, session_run(3, 1, 1)) == entry
    assert (scan.find(2), scan.find(3)) == (([], []), ([entry], [(1, 1)]))


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


@given(st.lists(st.sets(st.integers(1, 900), min_size=1, max_size=300), min_size=1, max_size=4))
def test_a_scan_puts_together_what_lies_in_several_batches(batches: list[set[int]]) -> None:
    arena = small_arena(None)
    entries = []
    for batch in batches:
        ordered = sorted(batch)
        gaps = b"".join(varint(later - earlier - 1) for earlier, later in pairwise(ordered))
        entries.append(batch_of(arena, session_run(4, ordered[0], len(ordered), gaps=gaps)))
    found, stretches = SessionScan(arena).find(4)
    assert found == entries
    assert numbers(stretches) == sorted(set().union(*batches))
    assert all(earlier[1] + 1 < later[0] for earlier, later in pairwise(stretches))
