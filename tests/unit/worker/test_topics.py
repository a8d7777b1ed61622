"""A worker's topics by what the cluster says: who may begin to read, and who waits how long."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from ingestd.config import load
from ingestd.hotpath.arena import Arena
from ingestd.hotpath.intake import Intake
from ingestd.worker.partitioners import Partitioners
from ingestd.worker.topics import Topics

CONFIG = """
[producer]
bootstrap.servers = ["127.0.0.1:9092"]
max.block.ms = 60000

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

    def __init__(self, folder: Path, arena: Arena | None = None) -> None:
        path = folder / "ingestd.toml"
        path.write_text(CONFIG)
        config = load(path)
        self.timers: list[Timer] = []
        self.arena = arena or Arena.create(None, buffer_bytes=1 << 20, now_ms=1_700_000_000_000)
        intake = Intake(self.arena, None, seed=1)
        self.topics = Topics(config, self.arena, intake, cast(Any, self), Partitioners(config))
        self.index = self.topics.index

    def call_later(self, seconds: float, callback: Callable[..., None], *values: Any) -> Timer:
        self.timers.append(Timer(seconds, lambda: callback(*values)))
        return self.timers[-1]

    def begun(self, *topics: str) -> bool:
        """Whether a datagram socket for these topics may begin to read."""
        told: list[None] = []
        names = {self.index[topic]: topic for topic in topics}
        self.topics.first_counts.await_counts("devices", names, lambda: told.append(None))
        return bool(told)


def test_counts_of_the_configuration_of_an_earlier_run_and_of_the_cluster_are_known(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.begun("declared")
    assert not world.begun("a")
    world.topics.changed("a", bytes(16), b"")
    assert not world.begun("a")
    world.topics.changed("a", bytes(16), b"\x01\x01")
    assert world.begun("a", "declared")
    successor = World(tmp_path, world.arena)
    assert successor.begun("a")
    assert not successor.begun("a", "b")


def test_who_waits_for_a_topic_waits_for_max_block_ms_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    index = world.index["b"]
    for _ in range(2):
        world.topics.wanted(index)
    (timer,) = world.timers
    assert timer.seconds == 60
    world.topics.changed("b", bytes(16), b"\x01")
    assert timer.cancelled


def test_no_timer_is_left_behind_the_end(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert not world.begun("a")
    world.topics.wanted(world.index["b"])
    world.topics.close()
    assert [timer.cancelled for timer in world.timers] == [True, True]
