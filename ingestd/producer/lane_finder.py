"""Which lane a batch goes to, and compressed with what: looked up once per arena and partition, then remembered."""

from collections.abc import Callable
from typing import Any

from ingestd.producer.attachment import Attachment
from ingestd.producer.compression import Codec
from ingestd.producer.in_force import InForce
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.network.brokers import Brokers
from ingestd.producer.network.cluster import Topic
from ingestd.producer.sender import Sender


class LaneFinder:
    """``make(topic, partition)`` makes a lane when its first batch comes."""

    def __init__(self, make: Callable[[Topic, int], Lane], in_force: InForce, brokers: Brokers, sender: Sender) -> None:
        self._make = make
        self._in_force = in_force
        self._brokers = brokers
        self._cluster = brokers.cluster
        self._sender = sender
        self._accumulator = sender.accumulator

    def find(self, attachment: Attachment, batch: Any) -> tuple[Lane, Codec]:
        """Lane and codec of a batch whose partition is not among ``attachment.lanes`` yet; from here on it is."""
        name = attachment.topic_name(batch.topic)
        topic = self._cluster.topics.get(name)
        if topic is None:
            # left by a configuration that still had it
            topic = self._cluster.add(name)
            self._brokers.refresh()
        lane = self._accumulator.lanes.get((name, batch.partition)) or self._begin(topic, batch.partition)
        found = (lane, self._in_force.codec(name))
        attachment.remember((batch.topic, batch.partition), *found)
        return found

    def _begin(self, topic: Topic, partition: int) -> Lane:
        lane = self._make(topic, partition)
        self._sender.locate(lane)
        self._accumulator.add(lane)
        return lane
