"""A producer with a real arena and a real intake, fed by lines, for tests against the fake broker."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from ingestd.config import model
from ingestd.config.faults import Faults
from ingestd.config.reader import producer_of
from ingestd.config.section import Rules, read_section
from ingestd.config.settings import PRODUCER
from ingestd.hotpath.arena import Arena
from ingestd.hotpath.intake import Intake
from ingestd.hotpath.listener_spec import ListenerSpec
from ingestd.producer.batch_producer import BatchProducer
from ingestd.producer.common import Clock, SystemClock
from ingestd.producer.compression import decompress
from tests.fakes.broker import FakeCluster
from tests.fakes.partition_log import PartitionLog

QUICK: dict[str, Any] = {
    "linger_ms": 0,
    "batch_size": 1 << 20,
    "buffer_memory": 8 << 20,
    "request_timeout_ms": 1000,
    "retry_backoff_ms": 10,
    "retry_backoff_max_ms": 50,
    "reconnect_backoff_ms": 10,
    "reconnect_backoff_max_ms": 50,
    "socket_connection_setup_timeout_ms": 1000,
    "socket_connection_setup_timeout_max_ms": 3000,
    "client_id": "rig",
}
"""What differs from the defaults of a configuration that names only its servers: nothing waits long."""


def settings(bootstrap: tuple[str, ...], **changes: Any) -> model.Producer:
    defaults = producer_of(read_section("producer.", {}, Rules(PRODUCER), Faults()), frozenset())
    return msgspec.structs.replace(defaults, bootstrap_servers=bootstrap, **{**QUICK, **changes})


def clock() -> tuple[int, int]:
    return time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000


class Skipping(SystemClock):
    """A producer's clock that a test puts forward: what is to happen after a time happens no sooner, however slow the
    host is, and need not be waited for."""

    def __init__(self) -> None:
        self.skipped_ms = 0

    def tick_ms(self) -> int:
        return super().tick_ms() + self.skipped_ms


class Standing(SystemClock):
    """A producer's clock that stands still from ``stand`` on: time passes only as ``stood_ms`` says."""

    def __init__(self) -> None:
        self.stood_ms: int | None = None

    def stand(self) -> None:
        self.stood_ms = super().tick_ms()

    def tick_ms(self) -> int:
        return super().tick_ms() if self.stood_ms is None else self.stood_ms


PATIENCE_S = 30.0
"""For what comes at once where all is well; a busy host needs longer, and what hangs does not come at all."""


TRIES = 3
"""A busy host adds to what takes time, so that an upper bound is kept by one of several tries, a lower one by all."""


def assert_gaps(
    measure: Callable[[], Coroutine[Any, Any, list[float]]], bounds_s: Sequence[tuple[float, float]]
) -> None:
    """What ``measure`` finds lies within these, pair by pair."""
    tried: list[list[float]] = []
    for _ in range(TRIES):
        tried.append(uvloop.run(measure())[: len(bounds_s)])
        pairs = list(zip(tried[-1], bounds_s, strict=True))
        assert all(gap_s >= low_s for gap_s, (low_s, _) in pairs), tried
        if all(gap_s <= high_s for gap_s, (_, high_s) in pairs):
            return
    raise AssertionError(tried)


class Events:
    """Collects outcomes."""

    def __init__(self) -> None:
        self.delivered: list[tuple[int, int, int]] = []
        self.append_times_ms: list[int] = []
        """The log's append time of each; -1: the records have their own."""
        self.failed: list[tuple[int, int, bool]] = []
        self.refused: list[tuple[dict[int, str], int, int, bool]] = []
        self.splits: list[tuple[int, int]] = []
        self.texts: list[str] = []
        self.freed = 0

    def on_delivered(self, arena: Any, batch: Any, base_offset: int, log_append_time_ms: int) -> None:
        self.append_times_ms.append(log_append_time_ms)
        assert arena.provenance(batch.entry)
        self.delivered.append((batch.partition, base_offset, batch.record_count))

    def on_failed(self, arena: Any, batch: Any, reason: int, error_code: int, maybe: bool, text: str) -> None:
        assert isinstance(text, str)
        assert arena.provenance(batch.entry)
        self.failed.append((reason, error_code, maybe))
        self.texts.append(text)

    def on_records_failed(
        self, arena: Any, batch: Any, texts: dict[int, str], reason: int, error_code: int, maybe: bool
    ) -> None:
        assert arena.provenance(batch.entry)
        self.refused.append((texts, reason, error_code, maybe))

    def on_split(self, arena: Any, batch: Any, second: Any) -> None:
        assert arena.provenance(batch.entry)
        assert arena.provenance(second.entry)
        self.splits.append((batch.record_count, second.record_count))

    def on_freed(self) -> None:
        self.freed += 1


class Rig:
    """``send`` puts lines into a batch of their own, topic by topic; ``put`` as a worker does, with ``grow`` too."""

    def __init__(
        self,
        bootstrap: tuple[str, ...],
        topics: tuple[str, ...] = ("t",),
        path: Path | None = None,
        state_directory: Path | None = None,
        arena: Arena | None = None,
        draining: tuple[Arena, ...] = (),
        partitions: int = 1,
        expires_attempted: bool = False,
        producer_clock: Clock | None = None,
        grow: bool = False,
        **changes: Any,
    ) -> None:
        self.settings = settings(bootstrap, **changes)
        now_ms, _ = clock()
        self.arena = arena or Arena.create(path, buffer_bytes=self.settings.buffer_memory, now_ms=now_ms)
        self.intake = Intake(self.arena, None, seed=1)
        self.events = Events()
        self.losses: list[str] = []
        self.leaders: dict[str, bytes] = {}
        self.streams: dict[str, tuple[Any, socket.socket, socket.socket]] = {}
        for index, name in enumerate(topics):
            row = self.arena.topic_add(name)
            self.intake.add_topic(row, batch_bytes=self.settings.batch_size, linger_ms=0, record_bytes_max=1 << 20)
            self.intake.set_partitions(row, b"\1" * partitions)
            self.intake.add_listener(ListenerSpec(index=index, format="lines", topic=row))
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            self.streams[name] = (self.intake.stream(ours.fileno(), index, 100 + index), ours, theirs)
        self.producer = BatchProducer(
            self.settings,
            [model.Topic(name) for name in topics],
            lambda name, _, leaders: self.leaders.__setitem__(name, leaders),
            self.events,
            asyncio.get_running_loop(),
            "rig-0",
            state_directory=state_directory,
            listeners=[f"listener-{name}" for name in topics],
            on_data_loss=self.losses.append,
            clock=producer_clock,
            seed=1,
            expires_attempted=expires_attempted,
            relieved=self._linger if grow else None,
        )
        for each in draining:
            self.producer.attach(each)
        self.producer.attach(self.arena, self.intake)

    def fill(self, *lines: bytes, topic: str = "t") -> None:
        """One sealed batch of these lines, still in the arena's hands."""
        stream, _, theirs = self.streams[topic]
        theirs.sendall(b"".join(line + b"\n" for line in lines))
        stream.read(*clock())
        self.intake.seal_all()

    def send(self, *lines: bytes, topic: str = "t") -> None:
        self.fill(*lines, topic=topic)
        self.producer.sealed(self.arena, self.arena.take_sealed())

    def put(self, *lines: bytes, topic: str = "t") -> None:
        """Lines as a worker takes them: their batch is sealed when its linger time (0) is over, or grows."""
        stream, _, theirs = self.streams[topic]
        theirs.sendall(b"".join(line + b"\n" for line in lines))
        stream.read(*clock())
        self._linger()

    def _linger(self) -> None:
        self.intake.seal_due(clock()[1])
        self.producer.sealed(self.arena, self.arena.take_sealed())

    async def until(self, condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 (any condition)
                await asyncio.sleep(0.002)

    async def idle(self, seconds: float = PATIENCE_S) -> None:
        await self.until(lambda: self.producer.idle, seconds)

    async def close(self) -> None:
        await self.producer.close(0)
        for stream, ours, theirs in self.streams.values():
            del stream
            ours.close()
            theirs.close()
        self.streams.clear()


@asynccontextmanager
async def running(cluster: FakeCluster, **changes: Any) -> AsyncIterator[Rig]:
    """A started cluster and a rig on it; both are ended behind the test, the books must balance."""
    await cluster.start()
    try:
        rig = Rig(cluster.bootstrap, **changes)
        try:
            yield rig
        finally:
            await rig.close()
        ledger = rig.arena.ledger()
        gone = ledger["delivered"] + ledger["failed"] + ledger["dropped"]
        assert ledger["accepted"] == gone + rig.arena.buffered()
        rig.arena.close()
    finally:
        await cluster.stop()


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at


def lines_of(log: PartitionLog, codec: int = 0) -> list[bytes]:
    """The values in a log, in order."""
    values = []
    for batch in log.batches:
        data = decompress(codec, batch.payload)
        at = 0
        for _ in range(batch.count):
            length, at = varint(data, at)
            end = at + length
            at += 1
            for _ in range(2):
                _, at = varint(data, at)
            key_length, at = varint(data, at)
            at += max(key_length, 0)
            value_length, at = varint(data, at)
            values.append(data[at : at + value_length])
            at = end
    return values
