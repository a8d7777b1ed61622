"""What a wake-up of a datagram socket leads to, without a socket."""

import socket
from collections.abc import Callable
from typing import Any, cast

import pytest

from ingestd.hotpath import intake as path
from ingestd.listeners.datagram import GATHER_BUFFER_BYTES, GATHER_QUEUE, READS_MAX, DatagramSocket
from ingestd.listeners.room import Hooks, Room


class Loop:
    """Who reads, and what is to be called."""

    def __init__(self) -> None:
        self.reader: Callable[[], None] | None = None
        self.soon: list[Callable[[], None]] = []
        self.later: list[Callable[[], None]] = []

    def add_reader(self, _: int, callback: Callable[[], None]) -> None:
        self.reader = callback

    def remove_reader(self, _: int) -> None:
        self.reader = None

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_later(self, _: float, callback: Callable[[], None]) -> None:
        self.later.append(callback)


class Socket:
    def __init__(self, family: socket.AddressFamily) -> None:
        self.family = family

    def fileno(self) -> int:
        return 3

    def getsockopt(self, _: int, __: int) -> int:
        return GATHER_BUFFER_BYTES


class Setup:
    """A socket whose reads return ``results``, one after the other, then AGAIN."""

    def __init__(self, family: socket.AddressFamily = socket.AF_UNIX, queue: int = 11, *, started: bool = True) -> None:
        self.loop = Loop()
        self.told: list[str] = []
        self.results: list[int] = []
        self.reads = 0
        self.blocked_reason = path.BLOCKED_BY_PRESSURE
        hooks = Hooks(
            sealed=lambda: self.told.append("sealed"),
            opened=lambda: self.told.append("opened"),
            topic_wanted=lambda _: None,
            memory_short=lambda: None,
            connections=lambda _: None,
            errors=lambda _: self.told.append("error"),
        )
        self.room = Room(cast(Any, self.loop), cast(Any, None), hooks)
        self.datagrams = DatagramSocket(self.room, cast(socket.socket, Socket(family)), cast(Any, self), queue)
        if started:
            self.datagrams.start()

    def read(self, now_ms: int, tick_ms: int) -> int:
        assert now_ms > tick_ms
        self.reads += 1
        return self.results.pop(0) if self.results else path.AGAIN

    def finish(self, now_ms: int, tick_ms: int) -> int:
        assert now_ms > tick_ms
        return 0

    def resume(self, now_ms: int, tick_ms: int) -> int:
        return self.read(now_ms, tick_ms)

    def listens(self) -> bool:
        return self.loop.reader is not None

    def wake(self, *results: int) -> int:
        """Number of reads in this turn."""
        self.results, before = list(results), self.reads
        assert self.loop.reader is not None
        self.loop.reader()
        return self.reads - before


@pytest.mark.parametrize("flags", [path.ACCEPTED, path.AGAIN, path.REJECTED])
def test_a_read_that_brings_only_records_leaves_all_as_it_is(flags: int) -> None:
    setup = Setup()
    assert setup.wake(flags) == 1
    assert (setup.told, setup.loop.soon, setup.loop.later) == ([], [], [])
    assert setup.listens()


def test_batches_are_passed_on() -> None:
    setup = Setup()
    assert setup.wake(path.ACCEPTED | path.OPENED) == 1
    assert setup.wake(path.ACCEPTED | path.SEALED) == 1
    assert setup.wake(path.ERRNO) == 1
    assert setup.told == ["opened", "sealed", "error"]
    assert setup.listens()


def test_reads_on_up_to_a_bound() -> None:
    setup = Setup()
    assert setup.wake(path.READ_MORE, path.ACCEPTED, path.ACCEPTED) == 2
    assert setup.wake(*[path.READ_MORE] * 20) == READS_MAX


def test_parked_and_resumed() -> None:
    setup = Setup()
    setup.wake(path.BLOCKED)
    assert not setup.listens()
    setup.room.pressure_changed()
    for callback in setup.loop.soon:
        callback()
    setup.loop.soon.pop()()
    assert setup.listens()
    assert setup.wake(path.ACCEPTED) == 1


def test_a_drain_reads_to_the_end_once() -> None:
    setup = Setup()
    setup.wake(path.ACCEPTED)
    setup.datagrams.drain()
    setup.results = [path.READ_MORE, path.ACCEPTED]
    setup.loop.soon.pop()()
    assert setup.datagrams.drained
    assert not setup.listens()


def test_what_was_not_begun_is_drained_once_it_begins() -> None:
    setup = Setup(started=False)
    assert not setup.listens()
    setup.datagrams.drain()
    assert (setup.datagrams.drained, setup.loop.soon) == (False, [])
    setup.datagrams.start()
    setup.results = [path.READ_MORE, path.ACCEPTED]
    setup.loop.soon.pop()()
    assert (setup.reads, setup.datagrams.drained, setup.listens()) == (2, True, False)


def test_what_never_began_is_read_at_the_end_of_a_drain() -> None:
    setup = Setup(started=False)
    setup.datagrams.drain()
    setup.results = [path.READ_MORE, path.REJECTED]
    setup.datagrams.close()
    assert (setup.reads, setup.datagrams.drained, setup.listens()) == (2, True, False)


@pytest.mark.parametrize(("family", "queue"), [(socket.AF_INET, 0), (socket.AF_UNIX, GATHER_QUEUE)])
def test_where_there_is_room_datagrams_gather(family: socket.AddressFamily, queue: int) -> None:
    setup = Setup(family, queue)
    setup.wake(path.ACCEPTED)
    assert not setup.listens()
    setup.loop.later.pop()()
    assert setup.listens()


def test_a_short_queue_is_read_at_once() -> None:
    setup = Setup(socket.AF_UNIX, GATHER_QUEUE - 1)
    setup.wake(path.ACCEPTED)
    assert setup.listens()
