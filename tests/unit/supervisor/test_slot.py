"""A worker slot whose process cannot be made."""

import errno
import os
import signal
from pathlib import Path
from typing import cast

import pytest

from ingestd.scoreboard import Row, Word, WorkerState
from ingestd.supervisor.processes import PidfdChild
from ingestd.supervisor.slot import SILENT_MS, Slot
from ingestd.supervisor.states import Event, State


class Cells:
    """A row of the scoreboard that is only remembered."""

    def __init__(self) -> None:
        self.words: dict[Word, int] = {}

    def set(self, word: Word, value: int) -> None:
        self.words[word] = value

    def get(self, word: Word) -> int:
        return self.words.get(word, 0)

    def beat(self, tick_ms: int) -> None:
        self.words[Word.HEARTBEAT_TICK_MS] = tick_ms


class Child:
    pid = 4711


def slot_of(outcomes: list[OSError | Child]) -> tuple[Slot, Cells]:
    """A slot whose starts end so, in this order."""
    cells = Cells()

    def spawn(_: int) -> PidfdChild:
        outcome = outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return cast(PidfdChild, outcome)

    return Slot(0, cast(Row, cells), spawn, stop_timeout_ms=1, starting_silent_ms=1), cells


def no_process(number: int = errno.EAGAIN) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
def test_a_process_that_the_host_cannot_make_now_is_tried_again(number: int, caplog: pytest.LogCaptureFixture) -> None:
    slot, cells = slot_of([no_process(number), Child()])
    slot.handle(Event.START, 1000, 0)
    assert (slot.state, slot.child, slot.deadline_ms) == (State.BACKOFF, None, 1000)
    assert cells.words[Word.STATE] == WorkerState.BACKOFF
    assert os.strerror(number) in caplog.text
    slot.handle(Event.DEADLINE, 1000, 0)
    assert slot.state is State.STARTING
    assert cells.words[Word.PID] == Child.pid
    assert (cells.words[Word.STATE], cells.words[Word.RESTARTS]) == (WorkerState.STARTING, 1)


def test_tries_become_rare_and_never_give_the_daemon_up() -> None:
    slot, _ = slot_of([no_process() for _ in range(12)])
    slot.handle(Event.START, 0, 0)
    delays = []
    for _ in range(11):
        assert slot.deadline_ms is not None
        tick_ms = slot.deadline_ms
        slot.handle(Event.DEADLINE, tick_ms, 0)
        delays.append(slot.deadline_ms - tick_ms)
    assert delays[:3] == [250, 500, 1000]
    assert delays[-1] == 30_000


def test_a_slot_that_waits_for_its_next_try_can_be_stopped() -> None:
    slot, _ = slot_of([no_process()])
    slot.handle(Event.START, 0, 0)
    slot.handle(Event.STOP, 1, 0)
    assert slot.state is State.ABSENT


def test_the_dead_have_no_connections_and_no_memory() -> None:
    class Dying(Child):
        pidfd = status_fd = -1

        def status_lines(self) -> list[str]:
            return []

        def poll(self) -> int:
            return -9

        def close(self) -> None:
            pass

    slot, cells = slot_of([Dying()])
    slot.handle(Event.START, 1000, 0)
    shown = (Word.CONNECTIONS, Word.SESSIONS, Word.BROKERS_CONNECTED, Word.RSS_BYTES)
    for word in shown:
        cells.set(word, 7)
    slot.reap(1500, 0)
    assert slot.state is State.BACKOFF
    assert [cells.words[word] for word in shown] == [0, 0, 0, 0]


def test_a_stop_and_its_hurry_are_two_signals() -> None:
    """A process that is not run in between finds one of a kind."""
    sent: list[signal.Signals] = []

    class Starved(Child):
        def send(self, number: signal.Signals) -> None:
            sent.append(number)

    slot, _ = slot_of([Starved()])
    for event in (Event.START, Event.STOP, Event.HURRY):
        slot.handle(event, 0, 0)
    assert sent == [signal.SIGTERM, signal.SIGUSR1]


def test_the_patience_with_a_starting_worker_begins_anew_with_each_arena_and_is_as_long_as_that_is_large(
    tmp_path: Path,
) -> None:
    large, small = tmp_path / "large", tmp_path / "small"
    for path, size_bytes in ((large, 5_000_000), (small, 1_000_000)):
        path.touch()
        os.truncate(path, size_bytes)
    told = [f"opening {large}", f"opening {small}", f"opening {tmp_path}/gone"]

    class Opening(Child):
        def status_lines(self) -> list[str]:
            return [told.pop(0)]

    slot, _ = slot_of([Opening()])
    slot.handle(Event.START, 1000, 0)
    # At 10 MB/s; what any start may take, a millisecond here, comes on top.
    for tick_ms, patience_ms in ((1001, 501), (1400, 101), (1450, 1)):
        slot.read_status(tick_ms, 0)
        assert not slot.is_silent(tick_ms + patience_ms, 0)
        assert slot.is_silent(tick_ms + patience_ms + 1, 0)


def test_the_patience_of_a_start_before_is_not_the_next_ones(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.touch()
    os.truncate(large, 5_000_000)

    class Dying(Child):
        def status_lines(self) -> list[str]:
            return [f"opening {large}"]

        def poll(self) -> int:
            return -9

        def close(self) -> None:
            pass

    slot, _ = slot_of([Dying(), Child()])
    slot.handle(Event.START, 1000, 0)
    slot.reap(1001, 0)
    slot.handle(Event.DEADLINE, 1001, 0)
    assert slot.state is State.STARTING
    assert slot.is_silent(1003, 0)


def test_a_process_that_only_reads_the_scoreboard_beats_through_its_pipe() -> None:
    class Telling(Child):
        pidfd = status_fd = -1

        def status_lines(self) -> list[str]:
            return ["ready", "beat"]

    slot, cells = slot_of([Telling()])
    slot.handle(Event.START, 1000, 0)
    slot.read_status(1500, 0)
    assert (slot.state, cells.words[Word.HEARTBEAT_TICK_MS]) == (State.READY, 1500)
    assert not slot.is_silent(1500 + SILENT_MS, 0)
    assert slot.is_silent(1501 + SILENT_MS, 0)
