"""Which books a fresh arena takes over, and that none are taken twice."""

from pathlib import Path

import pytest

from ingestd.config import load
from ingestd.config.arena_files import set_aside, waiting
from ingestd.config.plan import WorkerPlan
from ingestd.hotpath.arena import Arena
from ingestd.hotpath.salvage import salvage
from ingestd.metrics import Dropped, Ledger, Rejected, balance, word_of
from ingestd.scoreboard import ROW_BYTES, Row, Word
from ingestd.worker.inheritance import take_over_memory, take_over_set_aside
from ingestd.worker.status import StatusPipe
from tests.model.arena_kit import NOW_MS, small_arena

CONFIG = """
[producer]
bootstrap.servers = ["127.0.0.1:9092"]
[[listeners]]
name = "a"
listen = "udp:127.0.0.1:5514"
format = "lines"
topic = "t"
"""


@pytest.fixture
def plan(tmp_path: Path) -> WorkerPlan:
    (tmp_path / "ingestd.toml").write_text(CONFIG)
    config = load(tmp_path / "ingestd.toml")
    return WorkerPlan(0, 1, config, str(tmp_path / "worker-0.arena"), (), "", 0, -1, ())


def take_over(plan: WorkerPlan, own: Arena, *draining: Arena) -> tuple[int, int]:
    """(accepted, dropped) of ``own`` behind it."""
    take_over_set_aside(own, list(draining), plan, StatusPipe(-1), NOW_MS)
    books = balance(own.ledger_counters(), 0)
    assert books.balanced
    return books.accepted, books.dropped


def used(path: Path, accepted: int) -> Arena:
    arena = small_arena(path)
    arena.book(Ledger.RECEIVED, accepted)
    arena.book(Ledger.ACCEPTED, accepted)
    return arena


def test_every_arena_that_waits_is_taken_over_once(tmp_path: Path, plan: WorkerPlan) -> None:
    for number, name in enumerate(("worker-0.arena", "worker-0.drain-1.arena"), 1):
        used(tmp_path / name, number).close()
        set_aside(tmp_path / name)
    own = small_arena(None)
    for _ in range(2):
        assert take_over(plan, own) == (3, 3)
        assert waiting(tmp_path, 0, 1) == []


def test_books_within_books_are_not_taken_again(tmp_path: Path, plan: WorkerPlan) -> None:
    # The second arena had taken over the first, and died before it could rename it.
    first = used(tmp_path / "worker-0.arena", 1)
    first.close()
    waits = set_aside(tmp_path / "worker-0.arena")
    second = used(tmp_path / "worker-0.arena", 4)
    salvaged = salvage(waits)
    assert salvaged is not None
    second.take_over(salvaged, Dropped.SET_ASIDE, now_ms=NOW_MS)
    second.close()
    set_aside(tmp_path / "worker-0.arena")
    assert take_over(plan, small_arena(None)) == (5, 5)
    assert waiting(tmp_path, 0, 1) == []


def test_books_within_a_draining_arena_are_not_taken_either(tmp_path: Path, plan: WorkerPlan) -> None:
    used(tmp_path / "worker-0.arena", 1).close()
    salvaged = salvage(set_aside(tmp_path / "worker-0.arena"))
    assert salvaged is not None
    draining = small_arena(None)
    draining.take_over(salvaged, Dropped.SET_ASIDE, now_ms=NOW_MS)
    assert take_over(plan, small_arena(None), draining) == (0, 0)
    assert waiting(tmp_path, 0, 1) == []


def test_what_cannot_be_read_waits_on(tmp_path: Path, plan: WorkerPlan, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "worker-0.arena.set-aside-1").write_bytes(b"?" * 9999)
    assert take_over(plan, small_arena(None)) == (0, 0)
    assert len(waiting(tmp_path, 0, 1)) == 1
    assert "nothing can be read" in caplog.text


def published(words: dict[int, int]) -> Row:
    row = Row(memoryview(bytearray(ROW_BYTES)))
    view = row.view.cast("Q")
    for word, value in words.items():
        view[Word.LEDGER + word] = value
    return row


def test_memory_that_died_leaves_its_books() -> None:
    own, draining = small_arena(None), small_arena(None)
    draining.book(Ledger.RECEIVED, 5)
    draining.book(Ledger.ACCEPTED, 5)
    draining.book(Ledger.DELIVERED, 4)
    malformed = word_of(Rejected.MALFORMED)
    row = published({Ledger.RECEIVED: 19, Ledger.ACCEPTED: 17, malformed: 2, Ledger.DELIVERED: 9})
    take_over_memory(own, [draining], row, NOW_MS)
    books = balance(own.ledger_counters(), 0)
    assert (books.received, books.accepted, books.delivered, books.dropped, books.balanced) == (14, 12, 5, 7, True)
    assert own.ledger_counters()[word_of(Dropped.MEMORY_LOST)] == 7


@pytest.mark.parametrize(
    ("received", "accepted", "delivered", "dropped"), [(11, 17, 9, 8), (19, 12, 9, 3), (19, 5, 9, 0), (5, 5, 0, 5)]
)
def test_memory_that_died_while_it_published_leaves_its_books(
    received: int, accepted: int, delivered: int, dropped: int
) -> None:
    own = small_arena(None)
    torn: dict[int, int] = {Ledger.RECEIVED: received, Ledger.ACCEPTED: accepted, Ledger.DELIVERED: delivered}
    row = published({**torn, word_of(Rejected.MALFORMED): 2})
    row.set(Word.SEQLOCK, 7)
    take_over_memory(own, [], row, NOW_MS)
    books = balance(own.ledger_counters(), 0)
    assert (books.delivered, books.rejected, books.dropped, books.balanced) == (delivered, 2, dropped, True)


def test_a_first_start_has_nothing_to_go_on_for(caplog: pytest.LogCaptureFixture) -> None:
    own = small_arena(None)
    take_over_memory(own, [], published({}), NOW_MS)
    assert not any(own.ledger_counters())
    assert not caplog.text
