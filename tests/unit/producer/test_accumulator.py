"""Whose turn it is in a request."""

from collections import deque
from types import SimpleNamespace
from typing import Any

from ingestd.producer.accumulator import Accumulator
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import Item
from ingestd.producer.network.cluster import Topic

NOW_MS = 1_700_000_000_000


def make_lane(topic: Topic, partition: int) -> Lane:
    lane = Lane(topic, partition, lambda _: 0)
    lane.identity(1, 0)
    assert lane.own is not None
    lane.own.confirmed = True
    return lane


class World:
    def __init__(self, partitions: int, batches: int, size_bytes: int = 100, request_bytes_max: int = 1000) -> None:
        self.accumulator = Accumulator(request_bytes_max)
        self.broker: Any = SimpleNamespace(ready_lanes=deque())
        self.connection: Any = object()
        topic = Topic("t")
        for partition in range(partitions):
            lane = make_lane(topic, partition)
            self.accumulator.add(lane)
            lane.route = self.broker
            for number in range(batches):
                batch = SimpleNamespace(record_count=1, size_bytes=size_bytes, max_timestamp_ms=NOW_MS, name=number)
                lane.enqueue(Item(None, batch, 0))
            self.accumulator.mark(lane)

    def drain(self) -> list[tuple[int, int]]:
        picked = self.accumulator.drain(self.broker, self.connection, NOW_MS, 0)
        for lane, _ in picked:
            lane.carrier = self.connection
        return [(lane.partition, item.batch.name) for lane, item in picked]


def test_a_request_has_one_batch_of_each_partition() -> None:
    world = World(3, 2)
    assert world.drain() == [(0, 0), (1, 0), (2, 0)]
    assert world.drain() == [(0, 1), (1, 1), (2, 1)]
    assert world.drain() == []


def test_who_did_not_fit_is_first_in_the_next_request() -> None:
    world = World(3, 2, request_bytes_max=250)
    assert world.drain() == [(0, 0), (1, 0)]
    assert world.drain() == [(2, 0), (0, 1)]
    assert world.drain() == [(1, 1), (2, 1)]


def test_a_batch_larger_than_a_request_goes_alone() -> None:
    world = World(2, 1, size_bytes=5000)
    assert world.drain() == [(0, 0)]
    assert world.drain() == [(1, 0)]


def test_nothing_passes_what_is_in_flight_on_another_connection() -> None:
    world = World(1, 3)
    assert world.drain() == [
        (0, 0),
    ]
    world.connection = object()
    assert world.drain() == []


def test_a_moved_partition_waits_at_its_new_leader() -> None:
    world = World(2, 1)
    other: Any = SimpleNamespace(ready_lanes=deque())
    lane = world.accumulator.lanes["t", 0]
    world.accumulator.move(lane, other)
    assert list(other.ready_lanes) == [lane]
    assert world.drain() == [(1, 0)]
    world.accumulator.move(lane, None)
    assert not other.ready_lanes
    assert world.accumulator.mark(lane) is None


def test_a_held_partition_has_no_turn() -> None:
    world = World(2, 1)
    world.accumulator.lanes["t", 0].held = True
    assert world.drain() == [(1, 0)]
