"""Reads topics back with an independent client, and judges what is in them against what was sent."""

import time
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

READ_SECONDS_MAX = 120.0
Sender = TypeVar("Sender", bound=Hashable)


class ReadRecord(NamedTuple):
    """A record as an independent consumer saw it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_type: int
    timestamp_ms: int


class ReadError(Exception):
    """The topic could not be read to its end."""


def read_topic(bootstrap: str, topic: str) -> list[ReadRecord]:
    """Every record of all partitions from offset 0 to the high watermark, batch CRCs checked; ordered by partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "ingestd-test-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "check.crcs": True,
            "isolation.level": "read_uncommitted",
            "fetch.wait.max.ms": 20,
            "log_level": 0,
        }
    )
    try:
        found = consumer.list_topics(topic, timeout=30).topics[topic]
        if found.error is not None:
            raise ReadError(f"{topic}: {found.error}")
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in found.partitions])
        return _read_to_end(consumer, topic, set(found.partitions))
    finally:
        consumer.close()


def _read_to_end(consumer: Consumer, topic: str, unfinished: set[int]) -> list[ReadRecord]:
    records: list[ReadRecord] = []
    deadline = time.monotonic() + READ_SECONDS_MAX
    while unfinished:
        if time.monotonic() > deadline:
            raise ReadError(f"{topic}: partitions {sorted(unfinished)} not read to their end in {READ_SECONDS_MAX} s")
        for message in consumer.consume(num_messages=10_000, timeout=0.2):
            error = message.error()
            if error is None:
                records.append(_record(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                unfinished.discard(message.partition())
            elif not error.retriable():
                raise ReadError(f"{topic}: {error}")
    return records


def _record(message: "Message[bytes, bytes]") -> ReadRecord:
    timestamp_type, timestamp_ms = message.timestamp()
    partition, offset = message.partition(), message.offset()
    assert partition is not None and offset is not None, "a message without a place"
    headers = message.headers() or []
    assert isinstance(headers, list), "headers come as a list"
    return ReadRecord(
        partition,
        offset,
        message.key(),
        message.value(),
        tuple((name, value.encode() if isinstance(value, str) else value) for name, value in headers),
        timestamp_type,
        timestamp_ms,
    )


def read_until(bootstrap: str, topic: str, count: int, seconds: float = 60.0) -> list[ReadRecord]:
    """Waits until the topic holds at least ``count`` records or the time is over; returns what is there."""
    deadline = time.monotonic() + seconds
    while high_watermark_total(bootstrap, topic) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    return read_topic(bootstrap, topic)


def high_watermark_total(bootstrap: str, topic: str) -> int:
    """Sum of the partitions' high watermarks: the number of records of a topic that was only ever appended to."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "ingestd-test-watermarks", "log_level": 0})
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        return sum(
            consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30, cached=False)[1]
            for partition in partitions
        )
    finally:
        consumer.close()


class SentRecord(NamedTuple):
    """A record as its sender handed it over. The values of all records under one judgement differ."""

    key: bytes | None
    value: bytes


@dataclass
class Verdict:
    """What is wrong with a topic. Each list names the values concerned; a clean topic has only empty ones."""

    read: int = 0
    lost: list[bytes] = field(default_factory=list)
    duplicated: list[bytes] = field(default_factory=list)
    reordered: list[bytes] = field(default_factory=list)
    scattered: list[bytes] = field(default_factory=list)
    phantom: list[bytes] = field(default_factory=list)
    changed: list[bytes] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Nothing lost, nothing twice, nothing out of order, nothing that was not sent."""
        return not (self.lost or self.duplicated or self.reordered or self.scattered or self.phantom or self.changed)

    def __str__(self) -> str:
        parts = [f"{self.read} read"]
        for name in ("lost", "duplicated", "reordered", "scattered", "phantom", "changed"):
            values: list[bytes] = getattr(self, name)
            if values:
                parts.append(f"{len(values)} {name} ({', '.join(repr(value[:40]) for value in values[:5])})")
        return ", ".join(parts)


class _Origin(NamedTuple):
    sender: Hashable
    position: int
    key: bytes | None


def judge(
    sent: Mapping[Sender, Sequence[SentRecord]], read: Iterable[ReadRecord], *, unanswered: Collection[bytes] = ()
) -> Verdict:
    """Compares.

    ``sent``: per sender, its records in the order of sending. ``unanswered``: values among them of which nothing was
    promised: they may be there, once and in order, or not.

    lost: a promised value that is not there. duplicated: there more than once (named once per extra copy). phantom:
    never sent. changed: there under another key. scattered: records of one key in more than one partition. reordered:
    a record that stands, in its partition, behind a later one of the same sender and key; records without a key are
    judged per partition.
    """
    verdict = Verdict()
    origins: dict[bytes, _Origin] = {}
    for sender, records in sent.items():
        for position, (key, value) in enumerate(records):
            if value in origins:
                raise ValueError(f"value {value!r} was sent twice: it cannot be judged")
            origins[value] = _Origin(sender, position, key)
    seen: set[bytes] = set()
    newest: dict[tuple[Hashable, bytes | None, int], int] = {}
    homes: dict[bytes, int] = {}
    for record in sorted(read, key=lambda record: (record.partition, record.offset)):
        verdict.read += 1
        _judge_one(record, origins, seen, newest, homes, verdict)
    forgiven = set(unanswered)
    verdict.lost = [value for value in origins if value not in seen and value not in forgiven]
    return verdict


def _judge_one(
    record: ReadRecord,
    origins: Mapping[bytes, _Origin],
    seen: set[bytes],
    newest: dict[tuple[Hashable, bytes | None, int], int],
    homes: dict[bytes, int],
    verdict: Verdict,
) -> None:
    value = b"" if record.value is None else record.value
    origin = origins.get(value)
    if origin is None:
        verdict.phantom.append(value)
        return
    if value in seen:
        verdict.duplicated.append(value)
        return
    seen.add(value)
    if record.key != origin.key:
        verdict.changed.append(value)
    if origin.key is not None and homes.setdefault(origin.key, record.partition) != record.partition:
        verdict.scattered.append(value)
    place = (origin.sender, origin.key, record.partition)
    if newest.get(place, -1) > origin.position:
        verdict.reordered.append(value)
    newest[place] = max(newest.get(place, -1), origin.position)
