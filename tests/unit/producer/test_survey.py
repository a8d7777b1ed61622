"""Gauges: what waits wherever it is, each batch once, and what is away."""

from types import SimpleNamespace
from typing import Any

import pytest

from ingestd.figures import Count, Figures, Gauge, TopicWord, Trouble
from ingestd.producer import survey as module
from ingestd.producer.accumulator import Accumulator
from ingestd.producer.attachment import Attachment
from ingestd.producer.dead_letters import DeadLetters
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import Item
from ingestd.producer.meter import Meter
from ingestd.producer.network.cluster import Topic
from ingestd.producer.survey import Survey
from tests.unit.producer.network.test_cluster import make as make_cluster
from tests.unit.producer.test_lane_finder import attachment, make_lane

NOW_MS = 1_700_000_000_000


def batch(age_ms: int, size_bytes: int) -> Any:
    return SimpleNamespace(
        topic=0, record_count=1, size_bytes=size_bytes, max_timestamp_ms=NOW_MS, created_ms=NOW_MS - age_ms
    )


class World:
    """A producer of topic ``t`` in which nothing waits."""

    def __init__(self) -> None:
        self.meter = Meter(Figures(["t"]))
        self.accumulator = Accumulator(1 << 20)
        self.attachments: dict[Any, Attachment] = {number: attachment("t") for number in range(2)}
        self.jobs: list[Any] = []
        self.letters = DeadLetters(None, [])
        self.troubles: list[Trouble] = []
        self.cluster = make_cluster()
        self.brokers = SimpleNamespace(cluster=self.cluster, in_flight=0, troubles=lambda: self.troubles)
        compressor: Any = SimpleNamespace(jobs=lambda: iter(self.jobs))
        brokers: Any = self.brokers
        self.survey = Survey(self.meter, self.accumulator, self.attachments, compressor, brokers, self.letters)

    def lane(self, partition: int, *batches: Any) -> Lane:
        lane = make_lane(Topic("t"), partition)
        self.accumulator.add(lane)
        for each in batches:
            lane.enqueue(Item(None, each, 0))
        return lane

    def compressing(self, lane: Lane, given: Any) -> None:
        lane.waiting_bytes += given.size_bytes
        self.jobs.append(SimpleNamespace(lane=lane, batch=given, plain_bytes=given.size_bytes))

    def waiting(self) -> tuple[int, int, int]:
        """Age of the oldest, batches, bytes; as the last look found them."""
        row = self.meter.figures.topic("t")
        oldest_ms = row[TopicWord.OLDEST_CREATED_MS]
        return oldest_ms and NOW_MS - oldest_ms, row[TopicWord.BATCHES_WAITING], row[TopicWord.BYTES_WAITING]


def test_what_waits_is_counted_once_wherever_it_is() -> None:
    world = World()
    busy, idle = world.lane(0, batch(50, 100), batch(40, 100)), world.lane(1)
    world.compressing(busy, batch(30, 1000))
    world.compressing(idle, batch(70, 10_000))
    world.attachments[1].wait(batch(60, 100_000))
    world.survey.take()
    assert world.waiting() == (70, 5, 111_200)
    busy.queue.clear()
    busy.waiting_bytes = 0
    world.jobs.clear()
    world.attachments[1].take_waiting()
    world.survey.take()
    assert world.waiting() == (0, 0, 0)


def test_many_partitions_are_not_walked_over_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SURVEYED_LANES", 2)
    world = World()
    for partition in range(4):
        world.lane(partition, batch(10, 100))
    found = []
    for number in range(4):
        world.brokers.in_flight = number
        world.survey.take()
        found.append((world.waiting()[1], world.meter.figures.gauges[Gauge.REQUESTS_IN_FLIGHT]))
        world.lane(9 + number, batch(10, 100))
    assert found == [(4, 0), (4, 1), (4, 2), (7, 3)]


def test_what_is_away_held_or_left_for_another_cluster_is_shown() -> None:
    world = World()
    gauges = world.meter.figures.gauges
    world.survey.take()
    assert gauges[Gauge.METADATA_TICK_MS] == 0
    world.cluster.last_success_ms = 77
    world.troubles = [Trouble(1, 2, "k:1", "refused")]
    for number, each in enumerate(world.attachments.values()):
        each.parked = 2 + number
        each.budget.held.update(world.lane(partition) for partition in range(1 + number))
    world.survey.take()
    assert gauges[Gauge.METADATA_TICK_MS] == 77
    assert (world.meter.figures.troubles, gauges[Gauge.BROKERS_UNREACHABLE]) == (world.troubles, 1)
    assert (gauges[Gauge.PARKED_BATCHES], gauges[Gauge.HELD_PARTITIONS]) == (5, 3)


def test_letters_are_counted_once_on_top_of_what_a_predecessor_had_counted() -> None:
    world = World()
    counts = world.meter.figures.counts
    counts[Count.DEAD_LETTERS_WRITTEN] = 100
    world.letters.written, world.letters.lost = 3, 1
    world.survey.take()
    world.letters.written = 4
    world.survey.take()
    assert (counts[Count.DEAD_LETTERS_WRITTEN], counts[Count.DEAD_LETTERS_LOST]) == (104, 1)
