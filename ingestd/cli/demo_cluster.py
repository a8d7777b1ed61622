"""The demo's Kafka: librdkafka's mock cluster, inside a producer instance of this process, and a reader of it."""

import time
from collections.abc import Iterable, Mapping
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition

from ingestd.errors import ClusterError

BROKERS: Final = 3
PARTITIONS: Final = 4
"""What the mock cluster gives every topic."""
_TIMEOUT_SECONDS: Final = 10.0
_QUIET_SECONDS: Final = 15.0
_SILENT: Final[dict[str, str | int | float | bool]] = {"log_level": 0}


class MockCluster:
    """Three brokers on loopback ports; gone with this object."""

    def __init__(self) -> None:
        self._owner = Producer({"test.mock.num.brokers": BROKERS, "bootstrap.servers": "mock:9092", **_SILENT})
        brokers = self._owner.list_topics(timeout=_TIMEOUT_SECONDS).brokers.values()
        self.bootstrap_servers = [f"{broker.host}:{broker.port}" for broker in brokers]

    def create(self, topics: Iterable[str]) -> None:
        """The mock creates a topic when it is asked for."""
        for topic in topics:
            found = self._owner.list_topics(topic, timeout=_TIMEOUT_SECONDS).topics[topic]
            if found.error is not None or len(found.partitions) != PARTITIONS:
                raise ClusterError(f"the mock cluster did not create {topic}: {found.error}")


class Arrived:
    """What was read back of one topic: how often each record of 0..count-1 was there, and where."""

    def __init__(self, count: int) -> None:
        self.seen = bytearray(count)
        self.per_partition = [0] * PARTITIONS
        self.foreign = 0
        self.disordered = 0
        self._last: dict[tuple[int, bytes | None], int] = {}

    def add(self, partition: int, key: bytes | None, index: int) -> None:
        """``index`` -1: not a record that was sent. Order is looked at per partition and key."""
        self.per_partition[partition] += 1
        if not 0 <= index < len(self.seen):
            self.foreign += 1
            return
        self.seen[index] = min(self.seen[index] + 1, 255)
        if index < self._last.get((partition, key), -1):
            self.disordered += 1
        self._last[partition, key] = index

    @property
    def total(self) -> int:
        return sum(self.per_partition)

    @property
    def missing(self) -> int:
        return self.seen.count(0)

    @property
    def doubled(self) -> int:
        return sum(self.seen) - len(self.seen) + self.missing

    @property
    def exact(self) -> bool:
        """Every record once, nothing else, in order per key."""
        return not (self.missing or self.doubled or self.foreign or self.disordered)


class ReadBack:
    """An independent client that reads the topics from their beginning."""

    def __init__(self, bootstrap_servers: list[str], counts: Mapping[str, int]) -> None:
        self.arrived = {topic: Arrived(count) for topic, count in counts.items()}
        self._consumer = Consumer(
            {
                "bootstrap.servers": ",".join(bootstrap_servers),
                "group.id": "ingestd-demo",
                "enable.auto.commit": False,
                "check.crcs": True,
                **_SILENT,
            }
        )
        self._consumer.assign(
            [TopicPartition(topic, number, OFFSET_BEGINNING) for topic in counts for number in range(PARTITIONS)]
        )
        self._last_news = time.monotonic()

    def read_some(self) -> int:
        """Takes what is there; returns how many records that were, -1 once nothing has come for long."""
        try:
            messages = self._consumer.consume(5_000, timeout=0.2)
        except KafkaException as error:
            raise ClusterError(f"reading back failed: {error}") from error
        for message in messages:
            broken = message.error()
            if broken is not None:
                raise ClusterError(f"reading back failed: {broken}")
            topic, partition, key = message.topic(), message.partition(), message.key()
            if topic is not None and partition is not None:
                self.arrived[topic].add(partition, _bytes(key), index_of(topic, _bytes(message.value())))
        now = time.monotonic()
        if messages:
            self._last_news = now
        return -1 if now - self._last_news > _QUIET_SECONDS else len(messages)

    def close(self) -> None:
        self._consumer.close()


def _bytes(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content


def value_of(topic: str, index: int) -> bytes:
    """The record number ``index`` of ``topic``: as long as a short log line, and no two alike."""
    return b"%d %s: a record of the demo, about as long as a line of a log is #%08x" % (
        index,
        topic.encode(),
        index * 2_654_435_761 & 0xFFFF_FFFF,
    )


def index_of(topic: str, value: bytes | None) -> int:
    """The number of the record, -1 if it is not, byte for byte, one that was sent."""
    number = (value or b"").split(b" ", 1)[0].rpartition(b"\t")[2]
    if not number.isdigit() or len(number) > 9:
        return -1
    index = int(number)
    return index if value is not None and value.endswith(value_of(topic, index)) else -1
