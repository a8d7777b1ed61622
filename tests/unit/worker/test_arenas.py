"""In which order a worker takes up what is left over, and where the sessions in it go on."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ingestd.config.plan import WorkerPlan
from ingestd.errors import HostOutOfSpaceError
from ingestd.hotpath.arena import Arena
from ingestd.hotpath.intake import Intake, ListenerSpec
from ingestd.scoreboard import FILE_NAME, Row, Writer
from ingestd.worker import arenas
from ingestd.worker.arenas import Arenas, open_arenas
from ingestd.worker.status import StatusPipe
from tests.reference.rig import NOW_MS, TICK_MS
from tests.unit.worker.test_answers import DELIVERED, records

SESSION = bytes(range(16))


@pytest.fixture
def row(tmp_path: Path) -> Iterator[Row]:
    with Writer.create(tmp_path / FILE_NAME, workers=1, supervisor_pid=1, now_ms=NOW_MS) as board:
        yield board.rows[0]


class Full:
    """Arenas on a disk that has no room for another."""

    open = Arena.open

    @staticmethod
    def create(_path: str, **_settings: int) -> Arena:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def leave(path: Path, created_ms: int, accepted: int = 0) -> str:
    """An arena without an owner; with ``accepted`` it knows SESSION, which has come so far."""
    arena = Arena.create(path, buffer_bytes=2 << 20, now_ms=created_ms)
    if accepted:
        intake = Intake(arena, None, seed=1)
        intake.add_topic(arena.topic_add("t"), batch_bytes=16384, linger_ms=5, record_bytes_max=1000)
        intake.set_partitions(0, b"\x01")
        intake.add_listener(ListenerSpec(index=0, format="frames", topics=(0,), timestamp=1))
        stream = intake.stream(-1, 0, 1)
        stream.set_topic_id(0, 0)
        stream.set_session(arena.session_open(SESSION, created_ms).index, DELIVERED)
        stream.feed(records(1, *[b"x"] * accepted), created_ms, TICK_MS)
        stream.finish(True, created_ms, TICK_MS)
    arena.close()
    return str(path)


def opened(row: Row, own: Path, buffer_bytes: int, *adopt: str) -> Arenas:
    producer = SimpleNamespace(buffer_memory=buffer_bytes)
    plan = SimpleNamespace(
        index=0, workers=1, config=SimpleNamespace(producer=producer), arena_path=str(own), adopt=adopt
    )
    return open_arenas(cast(WorkerPlan, plan), row, StatusPipe(-1), NOW_MS)


def test_left_over_arenas_are_drained_oldest_first_whatever_their_names(tmp_path: Path, row: Row) -> None:
    # Sorted names put the tenth before the second, and freed numbers are given out again.
    names = ["worker-0.drain-10.arena", "worker-0.drain-2.arena", "worker-0.drain-3.arena"]
    left = [leave(tmp_path / name, ms) for name, ms in zip(names, (3000, 1000, 2000), strict=True)]
    newest = leave(tmp_path / "worker-0.arena", 4000)
    found = opened(row, Path(newest), 4 << 20, *left)
    order = [arena.path for arena in found.draining]
    assert order == [left[1], left[2], left[0], str(tmp_path / "worker-0.drain-1.arena")]
    for arena in found.all():
        arena.close()


def test_without_room_for_another_size_the_arena_stays_in_its_place(
    tmp_path: Path, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(leave(tmp_path / "worker-0.arena", 1000, accepted=1))
    with monkeypatch.context() as patched:
        patched.setattr(arenas, "Arena", Full)
        with pytest.raises(HostOutOfSpaceError, match="8388608 bytes needed"):
            opened(row, path, 8 << 20)
    assert [file.name for file in sorted(tmp_path.glob("*.arena"))] == ["worker-0.arena"]
    found = opened(row, path, 2 << 20)
    assert (found.draining, found.own.buffered_records) == ([], 1)
    found.own.close()


def test_a_session_goes_on_where_it_stood_last(tmp_path: Path, row: Row) -> None:
    left = [leave(tmp_path / f"worker-0.drain-{number}.arena", 1000 * number, number) for number in (1, 2, 3)]
    found = opened(row, tmp_path / "worker-0.arena", 4 << 20, *left)
    session = found.own.session_find(SESSION)
    assert session is not None
    assert session.last_accepted == 3
    for arena in found.all():
        arena.close()
