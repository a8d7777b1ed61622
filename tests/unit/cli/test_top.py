"""``ingestd top``: rates between two looks, and views until the count."""

import argparse
import os
import sys
import time
from pathlib import Path

import pytest

from ingestd.admin.status import read_status
from ingestd.cli import top as command
from ingestd.errors import HostDaemonAbsentError
from ingestd.figures import Figures, TopicWord
from ingestd.hotpath.publisher import store_block
from ingestd.metrics import Ledger
from ingestd.scoreboard import Word, Writer
from tests.unit.admin.test_status import TICK_MS, board, path, store
from tests.unit.config.test_reader import FULL

__all__ = ["board", "path"]


def test_rates_are_what_has_grown_by_the_time(board: Writer, path: Path) -> None:
    before = read_status(path)
    for word, grown in ((Ledger.RECEIVED, 4000), (Ledger.ACCEPTED, 3000), (Ledger.DELIVERED_BYTES, 4096)):
        store(board.rows[1], Word.LEDGER + word, before.workers[1].published.ledger[word] + grown)
    figures = Figures(board.topics)
    figures.topic("gone")[TopicWord.RECORDS_SENT] = 600
    store_block(board.block(0), memoryview(figures.pack()))
    text = command.as_text(before, read_status(path), 2.0, time.time_ns() // 1_000_000, TICK_MS)
    lines = [line.split() for line in text.splitlines()]
    assert ["0", "0", "0", "0", "0", "bytes", "3", "25%"] in lines
    assert ["1", "2000", "1500", "0", "2", "KiB", "3", "25%"] in lines
    assert ["(not", "configured)", "300", "0", "0", "0", "0", "bytes", "-"] in lines


def test_a_daemon_started_anew_in_between_counts_from_nothing(board: Writer, path: Path, tmp_path: Path) -> None:
    before = read_status(path)
    now_ms = time.time_ns() // 1_000_000
    with Writer.create(tmp_path / "other", workers=1, supervisor_pid=os.getpid(), now_ms=now_ms) as fresh:
        store(fresh.rows[0], Word.LEDGER + Ledger.RECEIVED, 5)
        after = read_status(tmp_path / "other")
    assert board.rows
    text = command.as_text(before, after, 1.0, now_ms, TICK_MS)
    assert ["0", "5", "0", "0", "0", "bytes", "0", "0%"] in [line.split() for line in text.splitlines()]


@pytest.mark.parametrize("terminal", [True, False])
def test_it_shows_as_many_views_as_asked_for(
    board: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    configuration = tmp_path / "ingestd.toml"
    configuration.write_text(FULL.replace("/var/lib/ingestd", str(tmp_path)))
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    arguments = parser.parse_args(["-c", str(configuration), "--count", "3", "--interval", "0.5"])
    with pytest.raises(SystemExit):
        parser.parse_args(["--count", "0"])
    assert command.execute(arguments) == 0
    assert slept == [0.5] * 3
    out = capsys.readouterr().out
    assert out.count("ingestd (process") == 3
    assert out.count(command.CLEAR) == (3 if terminal else 0)
    (tmp_path / "scoreboard").unlink()
    with pytest.raises(HostDaemonAbsentError):
        command.execute(arguments)
    assert board.rows


@pytest.mark.parametrize("interval", ["0", "0.01", "4000", "soon"])
def test_an_interval_is_within_reason(interval: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--interval", interval])
    assert "--interval" in capsys.readouterr().err
