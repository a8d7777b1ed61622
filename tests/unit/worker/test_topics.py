"""What becomes of a worker's topics by what the cluster says: who may begin to read, and who waits how long."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from ingestd.config import load
from ingestd.hotpath.arena import Arena
from ingestd.hotpath.intake import Intake
from ingestd.worker.partitioners import Partitioners
from ingestd.worker.topics import FIRST_COUNT_SECONDS_MAX, Topics

CONFIG = """
[producer]
bootstrap.servers = ["127.0.0.1:9092"]
max.block.ms = {max_block_ms}

[topics.declared]
partitions = 2

[[listeners]]
name = "devices"
listen = "udp:127.0.0.1:5514"
format = "frames"
topics = ["a", "b", "declared"]
"""


class Timer:
    """One of the loop's; ``fire`` is called by the test."""

    def __init__(self, seconds: float, fire: Callable[[], None]) -> None:
        self.seconds = seconds
        self.fire = fire
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """Topics over ``arena``, and a loop whose timers a test fires."""

    def __init__(self, folder: Path, arena: Arena | None = None, max_block_ms: int = 60_000) -> None:
        path = folder / "ingestd.toml"
        path.write_text(CONFIG.format(max_block_ms=max_block_ms))
        config = load(path)
        self.timers: list[Timer] = []
        self.arena = arena or Arena.create(None, buffer_bytes=1 << 20, now_ms=1_700_000_000_000)
        intake = Intake(self.arena, None, seed=1)
        self.topics = Topics(config, self.arena, intake, cast(Any, self), Partitioners(config))
        self.index = self.topics.index
        self.begun: list[str] = []

    def call_later(self, seconds: float, callback: Callable[..., None], *values: Any) -> Timer:
        self.timers.append(Timer(seconds, lambda: callback(*values)))
        return self.timers[-1]

    def open(self, name: str, *topics: str) -> None:
        self.topics.when_counted(name, [self.index[topic] for topic in topics], lambda: self.begun.append(name))


def test_a_count_that_is_known_lets_it_begin_at_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.open("one", "a", "declared")
    assert (world.begun, world.timers) == (["one"], [])
    world.topics.changed("a", bytes(16), b"\x01\x01")
    successor = World(tmp_path, world.arena)
    successor.open("two", "a")
    successor.open("three", "b")
    assert successor.begun == ["two"]


def test_the_first_count_of_its_topics_lets_it_begin_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.open("both", "a", "b")
    world.open("one", "a")
    world.topics.changed("a", bytes(16), b"")
    assert world.begun == []
    world.topics.changed("b", bytes(16), b"\x01")
    assert world.begun == ["both"]
    world.topics.changed("a", bytes(16), b"\x01")
    world.topics.changed("b", bytes(16), b"\x01\x01")
    assert world.begun == ["both", "one"]
    assert all(timer.cancelled for timer in world.timers)


@pytest.mark.parametrize(("max_block_ms", "seconds"), [(60_000, FIRST_COUNT_SECONDS_MAX), (250, 0.25)])
def test_it_begins_without_a_count_in_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, max_block_ms: int, seconds: float
) -> None:
    world = World(tmp_path, max_block_ms=max_block_ms)
    world.open("devices", "a", "b")
    (timer,) = world.timers
    assert (timer.seconds, world.begun) == (seconds, [])
    timer.fire()
    assert world.begun == ["devices"]
    assert "listener devices: no partition count is known yet of a, b;" in caplog.text
    world.topics.changed("a", bytes(16), b"\x01")
    assert world.begun == ["devices"]


def test_nothing_begins_behind_the_end(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.open("devices", "a")
    world.topics.wanted(world.index["b"])
    world.topics.close()
    assert [timer.cancelled for timer in world.timers] == [True, True]
