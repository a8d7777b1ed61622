"""Whether the daemon runs and is well, judged from its scoreboard."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingestd.admin import tables
from ingestd.admin.status import read_status
from ingestd.errors import HostDaemonAbsentError
from ingestd.figures import Figures, Gauge, Trouble
from ingestd.hotpath.publisher import store_block
from ingestd.metrics import Ledger, Rejected, word_of
from ingestd.scoreboard import HeaderWord, Pressure, Row, Word, WorkerState, Writer

TICK_MS = 1_000_000
NOT_A_PID = 1 << 22 | 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scoreboard"


def store(row: Row, word: int, value: int) -> None:
    words = row.view.cast("Q")
    words[word] = value
    words.release()


@pytest.fixture
def board(path: Path) -> Iterator[Writer]:
    """Two workers that are well."""
    now_ms = time.time_ns() // 1_000_000
    with Writer.create(path, workers=2, supervisor_pid=os.getpid(), now_ms=now_ms) as board:
        for row in board.rows:
            row.set(Word.STATE, WorkerState.READY)
            row.set(Word.BROKERS_CONNECTED, 1)
            row.beat(TICK_MS)
            for word, value in ((Ledger.RECEIVED, 10), (Ledger.ACCEPTED, 8), (Ledger.DELIVERED, 5)):
                store(row, Word.LEDGER + word, value)
            store(row, Word.LEDGER + word_of(Rejected.CUT), 2)
            store(row, Word.BUFFERED_RECORDS, 3)
            store(row, Word.TOTAL_PAGES, 100)
            store(row, Word.FREE_PAGES, 75)
        yield board


def test_a_daemon_that_is_well_has_no_complaints(board: Writer, path: Path) -> None:
    status = read_status(path)
    assert status.complaints(TICK_MS + 1000) == []
    assert status.balance == (20, 16, 4, 10, 0, 0, 6)
    assert status.workers[0].arena_level == 0.25
    assert board.rows


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda row: row.set(Word.STATE, WorkerState.BACKOFF), "worker 1 is in backoff"),
        (lambda row: row.set(Word.STATE, WorkerState.STARTING), "worker 1 is starting"),
        (lambda row: row.beat(TICK_MS - 60_000), "worker 1 has been silent for 1min"),
        (lambda row: row.set(Word.PRESSURE, Pressure.PAUSE), "worker 1 is under pressure"),
        (lambda row: row.set(Word.PRESSURE, Pressure.SHED), "worker 1 sheds"),
        (lambda row: row.set(Word.BROKERS_CONNECTED, 0), "worker 1 has no connection to Kafka"),
        (lambda row: store(row, Word.SEQLOCK, 1), "worker 1 died while"),
        (lambda row: store(row, Word.BUFFERED_RECORDS, 2), "0 of received and 1 of accepted records"),
        (lambda row: store(row, Word.LEDGER, 9), "-1 of received and 0 of accepted records"),
    ],
)
def test_what_is_not_well_is_named(board: Writer, path: Path, change: Callable[[Row], None], text: str) -> None:
    change(board.rows[1])
    complaints = read_status(path).complaints(TICK_MS)
    assert len(complaints) == 1
    assert text in complaints[0]


def test_a_stopping_daemon_is_degraded(board: Writer, path: Path) -> None:
    board.stopping()
    assert read_status(path).complaints(TICK_MS) == ["the daemon is stopping"]


def test_an_idle_worker_needs_no_connection(board: Writer, path: Path) -> None:
    row = board.rows[0]
    row.set(Word.BROKERS_CONNECTED, 0)
    store(row, Word.BUFFERED_RECORDS, 0)
    store(row, Word.LEDGER + Ledger.DELIVERED, 8)
    assert read_status(path).complaints(TICK_MS) == []


def test_a_state_in_which_nothing_is_taken_is_told_and_not_the_pressure(board: Writer, path: Path) -> None:
    for row in board.rows:
        row.set(Word.PRESSURE, Pressure.SHED)
    board.rows[1].set(Word.STATE, WorkerState.BACKOFF)
    assert [row[1] for row in tables.workers(read_status(path), TICK_MS)] == ["state", "shed", "backoff"]


def troubled(board: Writer, *workers: int, unreachable: int = 1) -> None:
    for index in workers:
        figures = Figures()
        figures.troubles = [Trouble(TICK_MS - 90_000 - index, TICK_MS - 500, "kafka-1:9093", "login refused: <58>")]
        figures.gauges[Gauge.BROKERS_UNREACHABLE] = unreachable
        store_block(board.block(index), memoryview(figures.pack()))


def test_an_idle_worker_that_no_broker_lets_in_is_not_well(board: Writer, path: Path) -> None:
    row = board.rows[0]
    store(row, Word.BUFFERED_RECORDS, 0)
    store(row, Word.LEDGER + Ledger.DELIVERED, 8)
    troubled(board, 0)
    assert read_status(path).complaints(TICK_MS) == []
    row.set(Word.BROKERS_CONNECTED, 0)
    assert read_status(path).complaints(TICK_MS) == ["worker 0 has no connection to Kafka"]


def test_troubles_are_told_once_for_all_workers(board: Writer, path: Path) -> None:
    assert tables.troubles(read_status(path), TICK_MS) == []
    troubled(board, 1)
    text = "no way to kafka-1:9093 for 1min 30s (worker 1): login refused: <58>"
    assert tables.troubles(read_status(path), TICK_MS) == [text]
    troubled(board, 0, 1)
    text = "no way to kafka-1:9093 for 1min 30s (workers 0, 1): login refused: <58>"
    assert tables.troubles(read_status(path), TICK_MS) == [text]
    troubled(board, 0, unreachable=9)
    assert tables.troubles(read_status(path), TICK_MS) == [text, "no way to 8 other brokers (worker 0)"]
    (late,) = tables.troubles(read_status(path), TICK_MS + 60_000)[:1]
    assert late.startswith("no way to kafka-1:9093 for 2min 30s (workers 0, 1, last tried 1min ago): login")


def test_without_a_scoreboard_nobody_runs(path: Path) -> None:
    with pytest.raises(HostDaemonAbsentError, match="not running"):
        read_status(path)
    path.write_bytes(b"something else")
    with pytest.raises(HostDaemonAbsentError, match="cannot tell"):
        read_status(path)


def test_a_dead_supervisors_scoreboard_is_not_a_running_daemon(path: Path) -> None:
    Writer.create(path, workers=1, supervisor_pid=NOT_A_PID, now_ms=1).close()
    with pytest.raises(HostDaemonAbsentError, match="is gone"):
        read_status(path)


def test_a_process_that_only_inherited_the_number_is_not_the_supervisor(path: Path) -> None:
    change_word(path, HeaderWord.SUPERVISOR_START_TICKS)
    with pytest.raises(HostDaemonAbsentError, match="is gone"):
        read_status(path)


def test_a_process_of_another_boot_is_not_the_supervisor(path: Path) -> None:
    change_word(path, HeaderWord.BOOT_ID)
    with pytest.raises(HostDaemonAbsentError, match="is gone"):
        read_status(path)


@pytest.mark.parametrize("started_ms", [1_000, 1 << 43], ids=["ahead", "behind"])
def test_a_wall_clock_that_was_set_changes_nothing(path: Path, started_ms: int) -> None:
    Writer.create(path, workers=1, supervisor_pid=os.getpid(), now_ms=started_ms).close()
    assert read_status(path).header.started_ms == started_ms


def test_a_supervisor_that_the_host_hides_is_taken_to_be_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int, _number: int) -> None:
        raise PermissionError

    Writer.create(path, workers=1, supervisor_pid=NOT_A_PID, now_ms=1).close()
    monkeypatch.setattr(os, "kill", refuse)
    assert read_status(path).header.supervisor_pid == NOT_A_PID


def change_word(path: Path, word: HeaderWord) -> None:
    """Makes a scoreboard of this process, but for that word."""
    Writer.create(path, workers=1, supervisor_pid=os.getpid(), now_ms=time.time_ns() // 1_000_000).close()
    content = bytearray(path.read_bytes())
    content[8 * word] ^= 1
    path.write_bytes(content)


def test_brokers_with_one_address_are_one_line_of_a_worker(board: Writer, path: Path) -> None:
    """Proxies let every broker have theirs."""
    figures = Figures()
    figures.troubles = [Trouble(TICK_MS - age_ms, TICK_MS - 500, "proxy:9092", "away") for age_ms in (2000, 5000)]
    figures.gauges[Gauge.BROKERS_UNREACHABLE] = 2
    store_block(board.block(1), memoryview(figures.pack()))
    assert tables.troubles(read_status(path), TICK_MS) == ["no way to proxy:9092 for 5s (worker 1): away"]
