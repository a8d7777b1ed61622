"""The scoreboard: what is stored is what is read, at any time, and never half of it."""

import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd import scoreboard
from ingestd.metrics import LEDGER_WORDS
from ingestd.scoreboard import (
    ROW_BYTES,
    Pressure,
    Reader,
    ScoreboardError,
    Word,
    WorkerState,
    Writer,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scoreboard"


@pytest.fixture
def board(path: Path) -> Iterator[Writer]:
    with Writer.create(
        path, workers=2, supervisor_pid=41, now_ms=1_700_000_000_000, topics=("orders", "x" * 249)
    ) as board:
        yield board


def test_the_file_has_the_bytes_of_its_layout(board: Writer, path: Path) -> None:
    board.rows[1].set(Word.PID, 99)
    board.rows[1].beat(1234)
    board.admin.set(Word.PID, 7)
    board.block(1)[1] = 55
    content = path.read_bytes()
    block_bytes = len(content) // ROW_BYTES - 5
    assert block_bytes == 2 * 3  # 1176 words of a worker's figures are three rows
    assert struct.unpack_from("<8s7Q", content) == (b"INGSCORE", 4, 2, 41, 1_700_000_000_000, 0, 2, 0)
    assert int.from_bytes(content[72:88], "little") == scoreboard.boot_id()
    assert content[ROW_BYTES : ROW_BYTES + 8] == b"orders\0\0"
    assert content[ROW_BYTES + 256 :].startswith(b"x" * 249 + b"\0")
    assert struct.unpack_from("<3Q", content, 3 * ROW_BYTES) == (99, 0, 1234)
    assert struct.unpack_from("<Q", content, 4 * ROW_BYTES) == (7,)
    assert struct.unpack_from("<2Q", content, 8 * ROW_BYTES) == (0, 55)
    assert path.stat().st_mode & 0o777 == 0o640 & ~os.umask(os.umask(0))


def test_a_process_has_a_start_and_a_host_a_boot() -> None:
    ticks = scoreboard.start_ticks(os.getpid())
    assert 0 < ticks / os.sysconf("SC_CLK_TCK") < time.clock_gettime(time.CLOCK_BOOTTIME)
    assert ticks == scoreboard.start_ticks(os.getpid())
    assert scoreboard.start_ticks(1 << 22 | 1) == 0
    assert 0 < scoreboard.boot_id() < 1 << 128


def test_a_process_that_has_ended_and_is_not_reaped_was_never_started() -> None:
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert scoreboard.start_ticks(child) == 0
    os.waitpid(child, 0)


def test_words_are_where_the_layout_has_them() -> None:
    assert (Word.SEQLOCK, Word.LEDGER, Word.BUFFERED_RECORDS) == (64, 65, 65 + LEDGER_WORDS)
    assert (Word.OPEN_BATCHES, Word.IN_DOUBT_BATCHES, Word.LISTENER_ERRORS) == (194, 202, 12)
    assert scoreboard.PUBLISHED_END <= ROW_BYTES // 8


def test_readers_see_what_writers_store(board: Writer, path: Path) -> None:
    with Writer.open(path) as worker, Reader.open(path) as reader:
        worker.rows[0].set(Word.CONNECTIONS, 5)
        board.rows[0].set(Word.STATE, WorkerState.READY)
        board.rows[0].set(Word.PRESSURE, Pressure.SHED)
        board.rows[0].set(Word.LAST_EXIT_STATUS, -9)
        board.stopping()
        row = reader.rows[0]
        assert row.get(Word.CONNECTIONS) == 5
        assert (row.state, row.pressure) == (WorkerState.READY, Pressure.SHED)
        assert row.get_signed(Word.LAST_EXIT_STATUS) == -9
        board.beat(77)
        assert reader.header() == (2, 41, 1_700_000_000_000, True, 77, scoreboard.start_ticks(41), scoreboard.boot_id())
        assert reader.topics == ("orders", "x" * 249)
        assert reader.rows[1].get(Word.CONNECTIONS) == 0


def test_a_reader_cannot_store(board: Writer, path: Path) -> None:
    with Reader.open(path) as reader, pytest.raises(TypeError):
        reader.rows[0].set(Word.PID, 1)
    assert board.rows[0].get(Word.PID) == 0


def publish(board: Writer, lock: int, first: int) -> None:
    words = board.rows[0].view.cast("Q")
    words[Word.SEQLOCK] = lock
    for word in range(Word.LEDGER, Word.IN_DOUBT_BATCHES + 1):
        words[word] = first + word
    words.release()


def test_figures_are_read_under_the_seqlock(board: Writer) -> None:
    publish(board, 2, 1000)
    published = board.rows[0].published()
    assert published.consistent
    assert published.ledger == tuple(range(1065, 1065 + LEDGER_WORDS))
    assert published[1:-1] == tuple(1000 + word for word in range(Word.BUFFERED_RECORDS, Word.IN_DOUBT_BATCHES + 1))
    assert published.oldest_created_ms == 1000 + Word.OLDEST_CREATED_MS


def test_a_writer_that_died_in_between_is_noticed(board: Writer) -> None:
    publish(board, 3, 7)
    published = board.rows[0].published()
    assert not published.consistent
    assert published.ledger[0] == 7 + Word.LEDGER


def test_a_fresh_scoreboard_takes_the_place_of_the_old_one(board: Writer, path: Path) -> None:
    with Reader.open(path) as old:
        board.rows[0].set(Word.PID, 5)
        with Writer.create(path, workers=1, supervisor_pid=42, now_ms=1):
            assert old.rows[0].get(Word.PID) == 5
            with Reader.open(path) as fresh:
                assert fresh.header().supervisor_pid == 42
                assert [row.get(Word.PID) for row in fresh.rows] == [0]
    assert [entry.name for entry in path.parent.iterdir()] == ["scoreboard"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "too short"),
        (b"\0" * ROW_BYTES, "not a scoreboard"),
        (struct.pack("<8sQQ", b"INGSCORE", 3, 0).ljust(ROW_BYTES, b"\0"), "version 4"),
        (struct.pack("<8sQQ", b"INGSCORE", 4, 1).ljust(ROW_BYTES, b"\0"), "shorter than"),
    ],
)
def test_what_is_no_scoreboard_is_refused(path: Path, content: bytes, text: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ScoreboardError, match=text):
        Reader.open(path)


def test_without_a_daemon_there_is_none(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Reader.open(path)
