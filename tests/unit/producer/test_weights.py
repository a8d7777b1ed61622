"""When the record path is told of queues: while batches come or wait, and never for topics without draws."""

from array import array
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ingestd.config.reader import parse
from ingestd.producer.weights import Weights

CONFIG = """
[producer]
bootstrap.servers = ["k:1"]
[topics.plain]
partitioner.adaptive.partitioning.enable = false
[topics.turns]
partitioner.class = "round_robin"
[topics.quick]
partitioner.availability.timeout.ms = 300
[topics.keyed]
partitioner.class = "consistent_random"
[[listeners]]
name = "l"
listen = "unix-stream:/s"
format = "frames"
topics = ["plain", "turns", "quick", "keyed"]
"""


class World:
    """A loop of one timer, an intake that remembers, and queues to be set."""

    def __init__(self) -> None:
        self.timer: Callable[[], None] | None = None
        self.drawn = {"quick": 1, "keyed": 0}
        self.queues: dict[str, list[int] | None] = {"quick": [0, 2]}
        self.asked: list[tuple[str, int]] = []
        self.weighed: list[tuple[int, list[int] | None]] = []
        config = parse(CONFIG)
        self.index = {topic.name: at for at, topic in enumerate(config.topics)}
        self.names = {at: name for name, at in self.index.items()}
        world: Any = self
        self.weights = Weights(world, self.lengths, world)
        for topic in config.topics:
            self.weights.add(self.index[topic.name], topic.name, config.topic_settings(topic).partitioning)

    def call_later(self, _: float, call: Callable[[], None]) -> object:
        assert not self.runs()
        self.timer = call
        return SimpleNamespace(cancel=self.cancel)

    def cancel(self) -> None:
        self.timer = None

    def draws(self, index: int) -> int:
        return self.drawn[self.names[index]]

    def weigh(self, index: int, lengths: "array[int] | None") -> None:
        self.weighed.append((index, None if lengths is None else list(lengths)))

    def lengths(self, name: str, timeout_ms: int) -> "array[int] | None":
        self.asked.append((name, timeout_ms))
        found = self.queues[name]
        return None if found is None else array("i", found)

    def runs(self) -> bool:
        return self.timer is not None

    def tick(self) -> None:
        call, self.timer = self.timer, None
        assert call is not None
        call()


def test_topics_with_draws_are_weighed_and_no_others() -> None:
    world = World()
    world.weights.sealed()
    world.tick()
    assert world.asked == [("quick", 300)]
    assert world.weighed == [(world.index["quick"], [0, 2])]
    world.drawn["keyed"] = 5
    world.queues["keyed"] = None
    world.tick()
    assert world.weighed[-1] == (world.index["keyed"], None)


@pytest.mark.parametrize("queues", [[0, 0], None])
def test_it_ends_when_nothing_comes_and_nothing_waits(queues: list[int] | None) -> None:
    world = World()
    assert not world.runs()
    world.weights.sealed()
    world.weights.sealed()
    world.tick()
    assert world.runs()
    world.tick()
    assert world.runs(), "two batches wait"
    world.queues["quick"] = queues
    world.tick()
    assert not world.runs()
    world.weights.sealed()
    assert world.runs()


def test_it_can_be_stopped() -> None:
    world = World()
    world.weights.sealed()
    assert world.runs()
    world.weights.stop()
    assert not world.runs()
    world.weights.sealed()
    assert not world.runs()
