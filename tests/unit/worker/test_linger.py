"""Every batch goes out when its own topic's linger time is over."""

from collections.abc import Callable
from typing import Any, cast

from ingestd.worker.linger import NEVER_MS, Linger

SLOW_MS, FAST_MS = 1000, 5


class Timer:
    def __init__(self, tick_ms: int, callback: Callable[[], None]) -> None:
        self.tick_ms = tick_ms
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """Time, timers and open batches: when each is due."""

    def __init__(self, least_ms: int) -> None:
        self.tick_ms = 0
        self.timers: list[Timer] = []
        self.open: list[int] = []
        self.sealed: list[tuple[int, int]] = []
        """(when it was due, when it was sealed)."""
        self.looks = 0
        self.linger = Linger(self.seal_due, least_ms, cast(Any, self), lambda: self.tick_ms)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.tick_ms + round(seconds * 1000), callback))
        return self.timers[-1]

    def seal_due(self, tick_ms: int) -> int:
        self.looks += 1
        self.sealed += [(due_ms, tick_ms) for due_ms in self.open if due_ms <= tick_ms]
        self.open = [due_ms for due_ms in self.open if due_ms > tick_ms]
        return min(self.open) - tick_ms if self.open else NEVER_MS

    def opens(self, linger_ms: int) -> None:
        """A read opens a batch."""
        self.open.append(self.tick_ms + linger_ms)
        self.linger.opened()

    def run(self, until_ms: int) -> None:
        """Time goes on, timers fire when they are due."""
        while True:
            self.timers = [timer for timer in self.timers if not timer.cancelled]
            due = [timer for timer in self.timers if timer.tick_ms <= until_ms]
            if not due:
                break
            first = min(due, key=lambda timer: timer.tick_ms)
            self.timers.remove(first)
            self.tick_ms = max(self.tick_ms, first.tick_ms)
            first.callback()
        self.tick_ms = until_ms


def test_a_fast_topic_does_not_wait_for_a_slow_one() -> None:
    world = World(FAST_MS)
    world.opens(SLOW_MS)
    world.run(10)
    world.opens(FAST_MS)
    world.run(2 * SLOW_MS)
    assert world.sealed == [(10 + FAST_MS, 10 + FAST_MS), (SLOW_MS, SLOW_MS)]
    assert world.timers == []


def test_every_batch_is_sealed_when_it_is_due() -> None:
    world = World(FAST_MS)
    for turn in range(200):
        world.run(turn * 7)
        world.opens(SLOW_MS if turn % 3 else FAST_MS)
    world.run(10 * SLOW_MS)
    assert len(world.sealed) == 200
    assert all(due_ms == sealed_ms for due_ms, sealed_ms in world.sealed)


def test_batches_that_linger_equally_long_cost_no_looks() -> None:
    world = World(FAST_MS)
    for _ in range(100):
        world.opens(FAST_MS)
    assert world.looks == 1
    world.run(FAST_MS)
    assert world.looks == 2
    assert len(world.sealed) == 100


def test_a_batch_that_was_left_to_grow_is_looked_for() -> None:
    world = World(FAST_MS)
    world.opens(SLOW_MS)
    world.open.append(world.tick_ms)
    world.linger.look()
    assert world.sealed == [(0, 0)]
    assert len([timer for timer in world.timers if not timer.cancelled]) == 1
