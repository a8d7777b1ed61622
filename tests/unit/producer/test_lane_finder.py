"""The lane of a batch: one per partition, whatever arena it is in."""

from types import SimpleNamespace
from typing import Any

from ingestd.config.library import read_library_settings
from ingestd.config.model import Topic as Configured
from ingestd.producer.accumulator import Accumulator
from ingestd.producer.attachment import Attachment
from ingestd.producer.compression import LZ4, PLAIN, default_codec
from ingestd.producer.in_force import InForce
from ingestd.producer.lane_finder import LaneFinder
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.network.cluster import Topic
from tests.unit.producer.network.test_cluster import make as make_cluster


def make_lane(topic: Topic, partition: int) -> Lane:
    return Lane(topic, partition, lambda _: 0)


def attachment(*names: str) -> Attachment:
    topics = [SimpleNamespace(index=index, name=name) for index, name in enumerate(names)]
    arena: Any = SimpleNamespace(buffer_bytes=1 << 20, topics=lambda: topics)
    return Attachment(arena, None)


def batch(topic: int, partition: int = 0) -> Any:
    return SimpleNamespace(topic=topic, partition=partition)


class World:
    """A finder over a cluster with topic ``t``; that one and ``name`` are compressed with ``compression``."""

    def __init__(self, name: str = "t", compression: str = "lz4") -> None:
        self.cluster = make_cluster()
        self.accumulator = Accumulator(1 << 20)
        self.located: list[Lane] = []
        self.woken: list[Lane] = []
        self.refreshed = 0
        settings = read_library_settings({"bootstrap.servers": "k:1", "compression.type": compression}).producer
        self.in_force = InForce(settings, [Configured("t"), Configured(name)])
        sender: Any = SimpleNamespace(accumulator=self.accumulator, locate=self.located.append, wake=self.woken.append)
        brokers: Any = SimpleNamespace(cluster=self.cluster, refresh=self._refresh)
        self.sender = sender
        self.finder = LaneFinder(make_lane, self.in_force, brokers, sender)

    def _refresh(self) -> None:
        self.refreshed += 1


def test_the_first_batch_of_a_partition_makes_its_lane_and_finds_its_leader() -> None:
    world, arena = World(), attachment("t")
    lane, codec = world.finder.find(arena, batch(0, 3))
    assert (lane.topic, lane.partition, codec) == (world.cluster.topics["t"], 3, default_codec(LZ4))
    assert world.located == [lane]
    assert world.accumulator.lanes == {("t", 3): lane}
    assert arena.lanes == {(0, 3): (lane, codec)}
    assert arena.keys == {lane: (0, 3)}


def test_arenas_share_a_partitions_lane_whatever_rows_they_have() -> None:
    world, one, other = World(), attachment("t"), attachment("of before", "t")
    lane, _ = world.finder.find(one, batch(0))
    assert world.finder.find(other, batch(1))[0] is lane
    assert world.located == [lane]
    assert (one.keys, other.keys) == ({lane: (0, 0)}, {lane: (1, 0)})
    assert world.finder.find(one, batch(0, 1))[0] is not lane


def test_a_topic_that_nobody_configured_is_asked_for_and_goes_out_plain() -> None:
    world = World()
    lane, codec = world.finder.find(attachment("of before"), batch(0))
    assert codec is PLAIN
    assert world.cluster.topics["of before"] is lane.topic
    assert world.refreshed == 1
    world.finder.find(attachment("t"), batch(0))
    assert world.refreshed == 1
