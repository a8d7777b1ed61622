"""What each path answers, and when health and readiness say no."""

from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ingestd.admin import page
from ingestd.admin.site import Site
from ingestd.admin.status import copy_status
from ingestd.figures import Figures, TopicWord
from ingestd.hotpath.publisher import store_block
from ingestd.scoreboard import Reader, Word, WorkerState, Writer
from tests.unit.admin.test_status import troubled

TICK_MS = 1_000_000
NOW_MS = 1_700_000_000_000


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Writer]:
    path = tmp_path / "scoreboard"
    with Writer.create(path, workers=2, supervisor_pid=41, now_ms=NOW_MS - 90_000, topics=("a<b>",)) as board:
        board.beat(TICK_MS - 100)
        for row in board.rows:
            row.set(Word.STATE, WorkerState.READY)
            row.set(Word.BROKERS_CONNECTED, 1)
            row.beat(TICK_MS - 100)
        yield board


@pytest.fixture
def ask(board: Writer, tmp_path: Path) -> Iterator[Callable[[str], tuple[int, str]]]:
    assert len(board.rows) == 2
    with Reader.open(tmp_path / "scoreboard") as reader:
        site = Site(reader)

        def ask(path: str) -> tuple[int, str]:
            answer = site.answer(path, "", NOW_MS, TICK_MS)
            return answer.status, answer.body.decode()

        yield ask


Ask = Callable[[str], tuple[int, str]]


def test_all_is_well(ask: Ask) -> None:
    assert ask("/healthz") == ask("/readyz") == (200, "ok\n")
    assert ask("/")[0] == ask("/metrics")[0] == 200
    assert ask("/nothing")[0] == 404


@pytest.mark.parametrize(
    ("change", "health", "readiness"),
    [
        (lambda board: board.beat(TICK_MS - 60_000), "the supervisor is silent", "ok"),
        (lambda board: board.rows[1].beat(TICK_MS - 60_000), "worker 1 is silent", "ok"),
        (
            lambda board: board.rows[1].set(Word.STATE, WorkerState.BACKOFF),
            "worker 1 is in backoff",
            "worker 1 is in backoff",
        ),
        (lambda board: board.rows[0].set(Word.STATE, WorkerState.STARTING), "ok", "worker 0 is starting"),
        (lambda board: board.stopping(), "ok", "stopping"),
        (lambda board: board.rows[0].set(Word.BROKERS_CONNECTED, 0), "ok", "ok"),
    ],
)
def test_health_is_life_and_readiness_is_open_doors(
    board: Writer, ask: Ask, change: Callable[[Writer], None], health: str, readiness: str
) -> None:
    change(board)
    assert ask("/healthz") == (200 if health == "ok" else 503, f"{health}\n")
    assert ask("/readyz") == (200 if readiness == "ok" else 503, f"{readiness}\n")


def test_a_worker_that_is_done_is_healthy_while_the_others_drain(board: Writer, ask: Ask) -> None:
    board.rows[0].set(Word.STATE, WorkerState.ABSENT)
    assert ask("/healthz") == (503, "worker 0 is absent\n")
    board.stopping()
    board.rows[1].set(Word.STATE, WorkerState.DRAINING)
    assert ask("/healthz") == (200, "ok\n")
    assert ask("/readyz")[0] == 503


class Cells(HTMLParser):
    """The texts of all cells; counts what is opened and closed."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: list[str] = []
        self.depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") for name, _ in attrs)
        self.tags.append(tag)
        self.depth += tag not in ("meta",)

    def handle_endtag(self, tag: str) -> None:
        assert tag not in ("meta",)
        self.depth -= 1

    def handle_data(self, data: str) -> None:
        self.cells.append(data)


def test_the_page_shows_workers_books_and_topics_and_escapes_what_is_not_ours(board: Writer, tmp_path: Path) -> None:
    figures = Figures(board.topics)
    figures.topic("a<b>")[TopicWord.RECORDS_DELIVERED] = 4711
    store_block(board.block(0), memoryview(figures.pack()))
    board.rows[1].set(Word.STATE, WorkerState.BACKOFF)
    board.rows[1].set(Word.RESTARTS, 1)
    with Reader.open(tmp_path / "scoreboard") as reader:
        text = page.render(copy_status(reader), NOW_MS, TICK_MS).decode()
    found = Cells()
    found.feed(text)
    assert found.depth == 0
    assert not {"script", "b", "img"} & set(found.tags)
    assert {"ingestd (process 41) has been running for 1min 30s with 2 workers", "a<b>", "4711"} <= set(found.cells)
    assert "degraded: worker 1 is in backoff (last exit status 0)" in found.cells


def test_the_page_names_who_does_not_let_us_in(board: Writer, ask: Ask) -> None:
    assert "no way to" not in ask("/")[1]
    troubled(board, 0)
    line = "<li>no way to kafka-1:9093 for 1min 30s (worker 0): login refused: &lt;58&gt;</li>"
    assert line in ask("/")[1]
    assert 'ingestd_producer_unreachable_brokers{worker="0"} 1' in ask("/metrics")[1]
