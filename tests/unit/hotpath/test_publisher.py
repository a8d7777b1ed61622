"""The scoreboard row: books that balance at every look."""

import struct

import pytest

from ingestd.hotpath.arena import Arena
from ingestd.hotpath.publisher import Publisher
from ingestd.metrics import Ledger
from ingestd.scoreboard import Word
from tests.reference.rig import NOW_MS, TICK_MS, Rig, push


def words(row: bytearray) -> tuple[int, ...]:
    """All of them."""
    return struct.unpack("<512Q", row)


def test_every_read_is_published() -> None:
    row = bytearray(4096)
    rig = Rig(row=memoryview(row))
    stream = rig.stream("lines")
    for lines in range(1, 10):
        push(stream, b"v\n\nw\n")
        now = words(row)
        assert now[Word.SEQLOCK] % 2 == 0
        assert now[Word.LEDGER + Ledger.RECEIVED] == 3 * lines
        assert now[Word.LEDGER + Ledger.ACCEPTED] == now[Word.BUFFERED_RECORDS] == 2 * lines
        assert now[Word.OPEN_BATCHES] == 1
        assert now[Word.FREE_PAGES] == rig.arena.free_pages
        assert now[Word.TOTAL_PAGES] == rig.arena.page_count
    rig.drain()
    rig.intake.publish(in_doubt_batches=4)
    now = words(row)
    assert now[Word.LEDGER + Ledger.DELIVERED] == 18
    assert (now[Word.BUFFERED_RECORDS], now[Word.OPEN_BATCHES], now[Word.IN_DOUBT_BATCHES]) == (0, 0, 4)
    assert not any(now[: Word.SEQLOCK])  # of others


def test_drained_arenas_are_in_the_sum() -> None:
    row = bytearray(4096)
    old = Rig()
    push(old.stream("lines"), b"a\nb\n")
    old.intake.seal_all()
    rig = Rig(row=memoryview(row))
    rig.intake.attach(old.arena)
    push(rig.stream("lines"), b"c\n")
    rig.intake.publish()
    now = words(row)
    assert now[Word.LEDGER + Ledger.ACCEPTED] == now[Word.BUFFERED_RECORDS] == 3
    assert (now[Word.DRAIN_ONLY_ARENAS], now[Word.SEALED_BATCHES], now[Word.OLDEST_CREATED_MS]) == (1, 1, NOW_MS)
    assert now[Word.DRAIN_ONLY_PAGES] == old.arena.page_count - old.arena.free_pages
    assert now[Word.TOTAL_PAGES] == rig.arena.page_count
    old.drain()
    rig.arena.absorb(old.arena)
    rig.intake.detach(old.arena)
    rig.intake.publish()
    now = words(row)
    assert now[Word.LEDGER + Ledger.ACCEPTED] == 3
    assert now[Word.LEDGER + Ledger.DELIVERED] == 2
    assert now[Word.BUFFERED_RECORDS] == 1


def test_a_row_left_odd_is_made_even() -> None:
    row = bytearray(4096)
    row[Word.SEQLOCK * 8] = 7
    rig = Rig(row=memoryview(row))
    push(rig.stream("lines"), b"v\n")
    assert words(row)[Word.SEQLOCK] % 2 == 0


@pytest.mark.parametrize("row", [bytearray(4095), bytearray(4104)])
def test_rows_are_checked(row: bytearray) -> None:
    arena = Arena.create(None, buffer_bytes=1 << 20, now_ms=NOW_MS)
    with pytest.raises(ValueError, match="4096"):
        Publisher(arena, memoryview(row))


def test_nobody_reads() -> None:
    rig = Rig()
    rig.intake.publish(0)
    assert push(rig.stream("lines"), b"v\n")
    assert rig.intake.seal_due(TICK_MS) == 5
