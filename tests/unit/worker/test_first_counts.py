"""When a datagram socket begins to be read: with the last count of its topics, or when it has waited long enough."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from ingestd.worker.first_counts import STEP_SECONDS, STEPS_MAX, STEPS_MORE, FirstCounts


class World:
    """A loop with one timer at most, and sockets that begin."""

    def __init__(self, seconds_max: float = 60) -> None:
        self.timer: Callable[[], None] | None = None
        self.begun: list[str] = []
        self.counts = FirstCounts(seconds_max, cast(Any, self))

    def call_later(self, seconds: float, callback: Callable[[], None]) -> "World":
        assert (seconds, self.timer) == (STEP_SECONDS, None)
        self.timer = callback
        return self

    def cancel(self) -> None:
        self.timer = None

    def open(self, name: str, *indexes: int) -> None:
        topics = {index: f"t{index}" for index in indexes}
        self.counts.await_counts(name, topics, lambda: self.begun.append(name))

    def steps(self, count: int) -> None:
        for _ in range(count):
            fire, self.timer = self.timer, None
            assert fire is not None
            fire()


def test_where_all_counts_are_known_it_begins_at_once() -> None:
    world = World()
    world.counts.known(1)
    world.counts.known(2)
    world.open("a", 1, 2)
    assert (world.begun, world.timer) == (["a"], None)


def test_the_last_count_lets_it_begin_once() -> None:
    world = World()
    world.open("both", 1, 2)
    world.open("one", 1)
    world.counts.known(1)
    assert world.begun == ["one"]
    world.counts.known(1)
    world.counts.known(2)
    world.counts.known(2)
    assert world.begun == ["one", "both"]
    world.steps(1)
    assert (world.begun, world.timer) == (["one", "both"], None)


@pytest.mark.parametrize(("seconds_max", "steps"), [(60, STEPS_MAX), (0.2, 2)])
def test_without_any_count_it_begins_in_the_end(
    caplog: pytest.LogCaptureFixture, seconds_max: float, steps: int
) -> None:
    world = World(seconds_max)
    for _ in range(2):
        world.open("devices", 1, 2)
    world.steps(steps - 1)
    assert world.begun == []
    world.steps(1)
    assert (world.begun, world.timer) == (["devices"] * 2, None)
    assert caplog.text.count("listener devices: the partition count of t1, t2 is not known yet;") == 1


def test_nobody_waits_where_no_time_is_given() -> None:
    world = World(0)
    world.open("devices", 1)
    assert (world.begun, world.timer) == (["devices"], None)


@pytest.mark.parametrize("before", [False, True], ids=["from an answer", "from before"])
def test_with_some_counts_it_waits_a_little_longer_for_the_others(
    caplog: pytest.LogCaptureFixture, *, before: bool
) -> None:
    world = World()
    if before:
        world.counts.known(1)
    world.open("devices", 1, 2)
    if not before:
        world.steps(STEPS_MAX - STEPS_MORE - 1)
        world.counts.known(1)
    world.steps(STEPS_MORE - 1)
    assert world.begun == []
    world.steps(1)
    assert world.begun == ["devices"]
    assert "the partition count of t2 is not known yet" in caplog.text


def test_a_late_count_does_not_make_it_wait_longer() -> None:
    world = World()
    world.open("devices", 1, 2)
    world.steps(STEPS_MAX - 1)
    world.counts.known(1)
    world.steps(1)
    assert world.begun == ["devices"]


def test_nobody_begins_behind_the_end() -> None:
    world = World()
    world.open("devices", 1)
    world.counts.close()
    assert world.timer is None
    world.counts.known(1)
    assert world.begun == []
