"""In which order a worker takes up what is left over, and where the sessions in it go on."""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ingestd.config.plan import WorkerPlan
from ingestd.errors import HostOutOfSpaceError, HostResourceInUseError
from ingestd.hotpath.arena import Arena
from ingestd.hotpath.errors import ArenaInUse
from ingestd.hotpath.intake import Intake, ListenerSpec
from ingestd.limits import TOPICS_MAX
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


def opened(row: Row, own: Path, buffer_bytes: int, *adopt: str, topics: Sequence[str] = ()) -> Arenas:
    config = SimpleNamespace(
        producer=SimpleNamespace(buffer_memory=buffer_bytes), topics=[SimpleNamespace(name=name) for name in topics]
    )
    plan = SimpleNamespace(index=0, workers=1, config=config, arena_path=str(own), adopt=adopt)
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


def test_a_death_while_a_fresh_arena_is_made_moves_nothing(
    tmp_path: Path, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(leave(tmp_path / "worker-0.arena", 1000, accepted=1))
    create = Arena.create

    class Dying:
        open = Arena.open

        @staticmethod
        def create(draft: str, **settings: int) -> Arena:
            create(draft, **settings).close()
            Path(draft + ".new").touch()
            raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(arenas, "Arena", Dying)
        with pytest.raises(SystemExit):
            opened(row, path, 8 << 20)
    assert len(list(tmp_path.glob("worker*"))) == 3
    found = opened(row, path, 2 << 20)
    assert (found.draining, found.own.buffered_records) == ([], 1)
    assert list(tmp_path.glob("worker*")) == [path]
    found.own.close()


def test_a_session_goes_on_where_it_stood_last(tmp_path: Path, row: Row) -> None:
    left = [leave(tmp_path / f"worker-0.drain-{number}.arena", 1000 * number, number) for number in (1, 2, 3)]
    found = opened(row, tmp_path / "worker-0.arena", 4 << 20, *left)
    session = found.own.session_find(SESSION)
    assert session is not None
    assert session.last_accepted == 3
    for arena in found.all():
        arena.close()


def names(word: str, count: int) -> list[str]:
    return [f"{word}-{number}" for number in range(count)]


def test_where_no_rows_are_left_for_the_topics_the_old_arena_is_drained(tmp_path: Path, row: Row) -> None:
    path = tmp_path / "worker-0.arena"
    first = opened(row, path, 4 << 20, topics=names("old", TOPICS_MAX - 1)).own
    first_id = first.arena_id
    first.close()
    fits = opened(row, path, 4 << 20, topics=["old-7", "new-0"])
    assert (fits.own.arena_id, fits.draining) == (first_id, [])
    session = fits.own.session_open(SESSION, NOW_MS)
    fits.own.book(0, 3)
    fits.own.close()
    wanted = ["old-7", *names("new", TOPICS_MAX - 1)]
    full = opened(row, path, 4 << 20, topics=wanted)
    assert [topic.name for topic in full.own.topics()] == wanted
    assert [(arena.arena_id, arena.ledger()["received"]) for arena in full.draining] == [(first_id, 3)]
    assert [known.session_id for known in full.own.sessions()] == [session.session_id]
    for arena in full.all():
        arena.close()


@pytest.mark.parametrize("old_count", [TOPICS_MAX, TOPICS_MAX // 2])
def test_topics_of_what_was_set_aside_leave_the_configured_ones_their_rows(
    tmp_path: Path, row: Row, old_count: int
) -> None:
    path = tmp_path / "worker-0.arena"
    old = opened(row, path, 4 << 20, topics=names("old", old_count)).own
    old.topic_update(old_count - 1, bytes(16), 9)
    old.close()
    path.rename(tmp_path / "worker-0.arena.set-aside-1")
    wanted = [*names("new", TOPICS_MAX - 1), f"old-{old_count - 1}"]
    found = opened(row, path, 4 << 20, topics=wanted)
    assert [topic.name for topic in found.own.topics()] == wanted
    assert found.own.topics()[-1].partition_count == 9
    found.own.close()


def test_a_session_that_ended_does_not_come_back_out_of_a_drain_only_arena(tmp_path: Path, row: Row) -> None:
    left = leave(tmp_path / "worker-0.drain-1.arena", 1000, 3)
    path = tmp_path / "worker-0.arena"
    found = opened(row, path, 4 << 20, left)
    session = found.own.session_find(SESSION)
    assert session is not None
    # Whose records are still in there can be told all the same.
    assert [known.session_id for known in found.draining[0].sessions()] == [SESSION]
    found.own.session_close(session.index)
    for _ in range(2):
        for arena in found.all():
            arena.close()
        found = opened(row, path, 4 << 20, left)
        assert found.own.session_find(SESSION) is None
        assert [known.session_id for known in found.draining[0].sessions()] == [SESSION]
    for arena in found.all():
        arena.close()


def test_of_two_rows_of_a_session_the_one_that_is_further_counts(tmp_path: Path, row: Row) -> None:
    left = leave(tmp_path / "worker-0.drain-1.arena", 1000, 3)
    path = leave(tmp_path / "worker-0.arena", 2000, 1)
    found = opened(row, Path(path), 2 << 20, left)
    session = found.own.session_find(SESSION)
    assert session is not None
    assert session.last_accepted == 3
    for arena in found.all():
        arena.close()


def test_an_arena_that_was_drained_for_others_and_is_a_workers_own_again_resumes_none_of_their_sessions(
    tmp_path: Path, row: Row
) -> None:
    left = leave(tmp_path / "worker-1.arena", 1000, 3)
    heir = opened(row, tmp_path / "worker-0.arena", 4 << 20, left)
    for arena in heir.all():
        arena.close()
    found = opened(row, Path(left), 2 << 20)
    assert found.own.session_find(SESSION) is None
    assert found.own.buffered() == 3
    found.own.close()


@pytest.mark.parametrize("goes", [True, False])
def test_an_arena_in_use_is_tried_once_more_by_one_who_comes_too_late_to_hear_it(
    tmp_path: Path, row: Row, monkeypatch: pytest.MonkeyPatch, *, goes: bool
) -> None:
    path = leave(tmp_path / "worker-0.arena", 1000, 1)
    now = 5.0
    tries: list[float] = []

    class Held:
        @staticmethod
        def open(path: str, *, now_ms: int) -> Arena:
            nonlocal now
            tries.append(now)
            if goes and len(tries) == 2:
                return Arena.open(path, now_ms=now_ms)
            # Nobody lets us run for long, and meanwhile it may have been let go.
            now += 60
            raise ArenaInUse(path, 4711)

    monkeypatch.setattr(arenas, "Arena", Held)
    monkeypatch.setattr(arenas, "time", SimpleNamespace(monotonic=lambda: now, sleep=lambda _: None))
    if goes:
        opened(row, Path(path), 2 << 20).own.close()
    else:
        with pytest.raises(HostResourceInUseError, match="4711"):
            opened(row, Path(path), 2 << 20)
    assert tries == [5, 65]
