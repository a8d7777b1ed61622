"""``ingestd status`` for people and for programs."""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ingestd.admin.status import read_status
from ingestd.cli import status as command
from ingestd.cli import top
from ingestd.config.reader import parse
from ingestd.errors import HostDaemonAbsentError
from ingestd.metrics import Failed, Ledger, Rejected, word_of
from ingestd.scoreboard import Word, Writer
from tests.unit.admin.test_status import TICK_MS, board, path, store, troubled
from tests.unit.config.test_reader import FULL

__all__ = ["board", "path"]


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    file = tmp_path / "ingestd.toml"
    file.write_text(FULL.replace("/var/lib/ingestd", str(tmp_path)))
    return file


def arguments(configuration: Path, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(["-c", str(configuration), *words])


@pytest.fixture
def beating(board: Writer) -> Callable[[], None]:
    def beat() -> None:
        for row in board.rows:
            row.beat(time.monotonic_ns() // 1_000_000)

    return beat


def test_a_well_daemon_ends_with_zero_and_balances(
    beating: Callable[[], None], configuration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beating()
    assert command.execute(arguments(configuration, "--json")) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["status"] == "well"
    ledger = shown["ledger"]
    assert ledger["received"] == ledger["accepted"] + sum(ledger["rejected"].values())
    assert ledger["accepted"] == ledger["delivered"] + ledger["buffered"]
    assert (ledger["balanced"], ledger["intake_residual"], ledger["delivery_residual"]) == (True, 0, 0)
    assert ledger["rejected"] == {"cut": 4}
    worker = shown["workers"][1]
    assert (worker["state"], worker["arena"]["level"], worker["arena"]["bytes"]) == ("ready", 0.25, 409_600)


def test_a_degraded_daemon_ends_with_one_and_says_why(
    board: Writer, beating: Callable[[], None], configuration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beating()
    board.stopping()
    assert command.execute(arguments(configuration)) == 1
    assert "degraded: the daemon is stopping" in capsys.readouterr().out
    assert command.execute(arguments(configuration, "--json")) == 1
    assert json.loads(capsys.readouterr().out)["complaints"] == ["the daemon is stopping"]


def test_who_may_not_read_the_secrets_is_shown_the_status_all_the_same(
    beating: Callable[[], None], configuration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beating()
    text = configuration.read_text().replace("linger.ms = 7", 'client.id = "${file:/nowhere/to/be/found}"')
    configuration.write_text(text)
    assert command.execute(arguments(configuration)) == 0
    assert "note: the configuration cannot be read in full here" in capsys.readouterr().out


def test_no_daemon_ends_with_its_own_status(configuration: Path) -> None:
    with pytest.raises(HostDaemonAbsentError) as caught:
        command.execute(arguments(configuration))
    assert caught.value.exit_status == 75


def test_people_see_workers_books_reasons_and_old_arenas(board: Writer, path: Path) -> None:
    row = board.rows[0]
    for word, value in (
        (Ledger.RECEIVED, 13),
        (Ledger.ACCEPTED, 10),
        (Ledger.KERNEL_DROPPED, 77),
        (word_of(Rejected.CUT), 3),
        (word_of(Failed.TOPIC_DENIED), 2),
    ):
        store(row, Word.LEDGER + word, value)
    store(row, Word.DRAIN_ONLY_ARENAS, 2)
    store(row, Word.DRAIN_ONLY_PAGES, 256)
    text = command.as_text(read_status(path), [], parse(FULL), 0, TICK_MS)
    assert "rejected cut: 5 (the unfinished end" in text
    assert "failed topic_denied: 2 (the cluster denied" in text
    assert "kernel dropped: 77" in text
    assert "worker 0 drains 2 older arenas (1 MiB)" in text
    assert text.endswith("well")
    books = next(line for line in text.splitlines() if line.startswith("total"))
    assert books.split() == ["total", "23", "18", "5", "10", "2", "0", "6", "0/0"]


def test_who_does_not_let_us_in_is_shown(
    board: Writer, beating: Callable[[], None], configuration: Path, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beating()
    command.execute(arguments(configuration, "--json"))
    worker = json.loads(capsys.readouterr().out)["workers"][1]
    assert (worker["brokers_unreachable"], worker["troubles"]) == (0, [])
    troubled(board, 1)
    status = read_status(path)
    worker = command.as_json(status, [], TICK_MS)["workers"][1]
    trouble = {"broker": "kafka-1:9093", "reason": "login refused: <58>", "age_ms": 90_001, "tried_age_ms": 500}
    assert (worker["brokers_unreachable"], worker["troubles"]) == (1, [trouble])
    line = "no way to kafka-1:9093 for 1min 30s (worker 1): login refused: <58>"
    assert line in command.as_text(status, [], parse(FULL), 0, TICK_MS).splitlines()
    assert line in top.as_text(status, status, 1.0, 0, TICK_MS).splitlines()


def test_arenas_in_no_books_are_named(
    beating: Callable[[], None], configuration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration.write_text(configuration.read_text().replace("/dev/shm/ingestd", str(configuration.parent)))
    for name in ("worker-0.arena", "worker-0.arena.set-aside-2", "worker-1.arena.set-aside-1.booked"):
        (configuration.parent / name).touch()
    beating()
    assert command.execute(arguments(configuration, "--json")) == 0
    assert json.loads(capsys.readouterr().out)["set_aside"] == ["worker-0.arena.set-aside-2"]
    assert command.execute(arguments(configuration)) == 0
    assert "in no books (docs/errors.md): worker-0.arena.set-aside-2\n\nwell\n" in capsys.readouterr().out


def test_void_promises_are_told(board: Writer, path: Path) -> None:
    weak = parse(FULL.replace('acks = "all"\nenable.idempotence = true', "acks = 1\nenable.idempotence = false"))
    assert "voids the promises" in command.as_text(read_status(path), [], weak, 0, TICK_MS)
    assert "voids" not in command.as_text(read_status(path), [], parse(FULL), 0, TICK_MS)
    assert board.rows
