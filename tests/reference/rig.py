"""An arena in memory with an intake over it, and a look at everything that came in."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from ingestd.hotpath.arena import Arena
from ingestd.hotpath.intake import (
    AGAIN,
    BLOCKED,
    CONTROL,
    TOPIC_WAIT,
    Intake,
    ListenerSpec,
    Stream,
)

if TYPE_CHECKING:
    from ingestd.hotpath.intake import ChoosePartitions

NOW_MS = 1_700_000_000_000
TICK_MS = 5_000
PARKED = BLOCKED | CONTROL | TOPIC_WAIT


class Taken(NamedTuple):
    """An accepted record as it lies in a batch."""

    topic: int
    partition: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...]
    kind: int
    listener: int
    sender: bytes | int
    sequence: int


class Rig:
    """Topics ``t0``, ``t1``, ... whose rows have the same numbers; ``partitioner`` of all of them, or one for each."""

    def __init__(
        self,
        *,
        buffer_bytes: int = 4 << 20,
        topics: int = 1,
        partitions: int = 3,
        batch_bytes: int = 131072,
        linger_ms: int = 5,
        record_bytes_max: int = 1 << 20,
        partitioner: "str | ChoosePartitions | list[str | ChoosePartitions]" = "murmur2",
        row: memoryview | None = None,
        **intake: int,
    ) -> None:
        self.arena = Arena.create(None, buffer_bytes=buffer_bytes, now_ms=NOW_MS)
        self.intake = Intake(self.arena, row, **{"seed": 1, **intake})
        for index in range(topics):
            assert self.arena.topic_add(f"t{index}") == index
            self.intake.add_topic(
                index,
                batch_bytes=batch_bytes,
                linger_ms=linger_ms,
                record_bytes_max=record_bytes_max,
                partitioner=partitioner[index] if isinstance(partitioner, list) else partitioner,
            )
            self.intake.set_partitions(index, b"\x01" * partitions)
        self.records: list[Taken] = []
        self.sizes: list[int] = []

    def listener(self, format_: str, **spec: Any) -> int:
        """Adds listener 0 (or ``index``); returns its number."""
        spec.setdefault("index", 0)
        if format_ == "frames":
            spec.setdefault("topics", (0,))
            spec.setdefault("timestamp", 1)
        else:
            spec.setdefault("topic", 0)
        self.intake.add_listener(ListenerSpec(format=format_, **spec))
        return int(spec["index"])

    def stream(self, format_: str, sender: int = 7, **spec: Any) -> Stream:
        """A connection on a fresh listener."""
        return self.intake.stream(-1, self.listener(format_, **spec), sender)

    def drain(self) -> list[Taken]:
        """Seals, takes and frees all batches; returns every record so far, by partition and in order."""
        self.intake.seal_all()
        for batch in self.arena.take_sealed():
            found = list(self.arena.records(batch.entry))
            assert len(found) == batch.record_count
            assert [item.index for item in found] == list(range(len(found)))
            self.sizes.append(batch.size_bytes)
            for item in found:
                self.records.append(
                    Taken(
                        batch.topic,
                        batch.partition,
                        item.timestamp_ms,
                        item.key,
                        item.value,
                        item.headers,
                        item.kind,
                        item.listener,
                        item.sender,
                        item.sequence,
                    )
                )
            self.arena.stamp(batch.entry, 1, 0, 0, 0, NOW_MS)
            self.arena.done(batch.entry)
        return self.records

    def values(self) -> list[bytes | None]:
        """Values of all records so far."""
        return [item.value for item in self.drain()]

    def rejected(self) -> dict[int, int]:
        """Count by reason."""
        return {
            int(name.partition(".")[2]): count
            for name, count in self.arena.ledger().items()
            if name.startswith("rejected.")
        }

    def check(self) -> None:
        """The books balance."""
        ledger = self.arena.ledger()
        assert ledger["received"] == ledger["accepted"] + ledger["rejected"], ledger
        buffered = self.arena.buffered()
        assert ledger["accepted"] == ledger["delivered"] + ledger["failed"] + ledger["dropped"] + buffered, ledger
        assert buffered == self.arena.buffered_records


def push(stream: Stream, data: bytes, cuts: Iterable[int] = ()) -> int:
    """Feeds ``data`` in pieces that end at ``cuts``; returns all flags met. Stops where the stream parks."""
    flags = 0
    at = 0
    for cut in [*sorted(cuts), len(data)]:
        while at < cut:
            now, taken = stream.feed(data[at:cut], NOW_MS, TICK_MS)
            flags |= now
            at += taken
            if now & PARKED or not taken:
                return flags
    return flags & ~AGAIN
