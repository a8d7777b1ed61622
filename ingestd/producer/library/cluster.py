"""What a program may know of the cluster, by the names that Kafka's clients give it."""

from collections.abc import Mapping
from typing import NamedTuple

from ingestd.producer.library.topics import KnownTopic


class Node(NamedTuple):
    """A broker."""

    id: int
    host: str
    port: int


class PartitionInfo(NamedTuple):
    """A partition; ``leader`` None: nobody leads it now."""

    topic: str
    partition: int
    leader: Node | None


class Cluster:
    """The topics that this producer has met, as metadata last showed them. Handed to partitioners; asks nobody."""

    def __init__(self, topics: Mapping[str, KnownTopic]) -> None:
        self._topics = topics

    def partition_count_for_topic(self, topic: str) -> int:
        """All partitions, led or not; 0: the topic is not known."""
        known = self._topics.get(topic)
        return known.count if known is not None else 0

    def partitions_for_topic(self, topic: str) -> list[PartitionInfo]:
        """Every partition in its order."""
        known = self._topics.get(topic)
        if known is None:
            return []
        nodes = {node: Node(node, *address) for node, address in known.nodes.items()}
        return [PartitionInfo(topic, index, nodes.get(leader)) for index, leader in enumerate(known.leaders)]

    def available_partitions_for_topic(self, topic: str) -> list[PartitionInfo]:
        """Those that somebody leads."""
        return [info for info in self.partitions_for_topic(topic) if info.leader is not None]
