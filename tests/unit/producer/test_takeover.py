"""What a dead process left, sorted into lanes, to the compressor, or left for its own cluster."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from ingestd.figures import Count, Figures
from ingestd.producer.attachment import Attachment
from ingestd.producer.common import SystemClock
from ingestd.producer.compression import ZSTD, put_compressed
from ingestd.producer.compressor import Job
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.meter import Meter
from ingestd.producer.takeover import Takeover
from tests.reference.native_frame import WireRecord, records_frame
from tests.reference.rig import NOW_MS, TICK_MS, Rig
from tests.unit.producer.test_lane_finder import World as Lanes

PRODUCER_ID = 7


class Left:
    """An arena of a process that has died, with ``stamped`` and then ``sealed`` batches of one record each."""

    def __init__(self, cluster_id: str, *, stamped: int = 0, sealed: int = 0, first: int = 0) -> None:
        self.rig = Rig(partitions=1)
        self.arena = self.rig.arena
        if cluster_id:
            self.arena.set_cluster_id(cluster_id)
        stream = self.rig.stream("frames")
        for number in range(stamped + sealed):
            stream.feed(records_frame([WireRecord(bytes(1000))], topic=b"t0"), NOW_MS, TICK_MS)
            self.rig.intake.seal_all()
            [batch] = self.arena.take_sealed()
            if number < stamped:
                self.arena.dispatch(batch.entry, PRODUCER_ID, 0, first + number, 0, NOW_MS).release()
        self.attachment = Attachment(self.arena, None)
        for batch in self.arena.recovered():
            self.attachment.wait(batch)


class World:
    """A takeover by a process at ``cluster_id``; ``jobs`` are what is to be compressed, and nothing is by itself."""

    def __init__(self, cluster_id: str = "c", compression: str = "none") -> None:
        lanes = Lanes("t0", compression)
        lanes.cluster.cluster_id = cluster_id
        self.finder, self.woken, self.lanes = lanes.finder, lanes.woken, lanes.accumulator.lanes
        self.jobs: list[Job] = []
        self.held: list[Lane] = []
        self.meter = Meter(Figures(["t0"]))
        compressor: Any = SimpleNamespace(put=self.jobs.append, holds=self.held.__contains__)
        self.takeover = Takeover(
            lanes.cluster, lanes.in_force, lanes.finder, compressor, lanes.sender, self.meter, SystemClock()
        )

    def release(self, *left: Left) -> Lane:
        self.takeover.release([each.attachment for each in left])
        return self.lanes["t0", 0]


def test_what_was_stamped_goes_first_under_its_numbers_and_what_was_sealed_behind_it() -> None:
    world, left = World(), Left("c", stamped=2, sealed=1)
    lane = world.release(left)
    [(items, numbers, renumbered)] = lane.runs
    assert [(item.producer_id, item.epoch, item.sequence) for item in items] == [
        (PRODUCER_ID, 0, 0),
        (PRODUCER_ID, 0, 1),
    ]
    assert (numbers.next_sequence, renumbered) == (2, [])
    assert [item.is_numbered for item in lane.queue] == [False]
    assert world.woken == [lane]
    assert world.meter.figures.counts[Count.RECOVERED_IN_DOUBT] == 2
    assert left.attachment.waiting == []


def test_what_one_process_had_numbered_in_two_arenas_is_one_run() -> None:
    world = World()
    lane = world.release(Left("c", stamped=1, first=1), Left("c", stamped=1, sealed=1))
    [(items, _, _)] = lane.runs
    assert [item.sequence for item in items] == [0, 1]
    assert (len(lane.queue), world.woken) == (1, [lane])


def test_nothing_left_moves_nothing() -> None:
    world = World()
    world.takeover.release([Left("c").attachment])
    assert (world.lanes, world.woken) == ({}, [])


def test_what_was_only_sealed_enters_its_lane_once_it_is_compressed() -> None:
    world = World(compression="zstd")
    lane = world.release(Left("c", stamped=1, sealed=1))
    assert len(lane.runs) == 1
    assert not lane.queue
    [job] = world.jobs
    assert job.codec.number == ZSTD
    job.work(memoryview(bytes(1000)))
    job.batch = put_compressed(job.arena, job.batch, job.codec, job.payload)
    assert job.item is not None
    world.takeover.enter(job.item, job)
    assert list(lane.queue) == [job.item]
    assert job.item.batch is job.batch
    assert job.item.size_bytes == job.batch.size_bytes < job.plain_bytes
    assert world.woken == [lane, lane]


def test_behind_what_is_being_compressed_already_nothing_would_keep_its_place() -> None:
    world, left = World(compression="zstd"), Left("c", sealed=2)
    lane, _ = world.finder.find(left.attachment, left.attachment.waiting[0])
    world.held.append(lane)
    assert world.release(left) is lane
    assert world.jobs == []
    assert len(lane.queue) == 2


def test_numbers_of_another_cluster_stay_in_the_arena_and_the_rest_goes_to_this_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world, left = World("other"), Left("c", stamped=2, sealed=1)
    with caplog.at_level(logging.ERROR):
        lane = world.release(left)
    assert left.attachment.parked == 2
    assert left.arena.cluster_id == "c"
    assert lane.runs == []
    assert [item.elsewhere for item in lane.queue] == [True]
    assert "another cluster than other" in caplog.text
    assert "2 batches" in caplog.text
    assert world.meter.figures.counts[Count.RECOVERED_IN_DOUBT] == 0


@pytest.mark.parametrize(("before", "stamped"), [("", 1), ("c", 0)])
def test_an_arena_without_numbers_of_another_cluster_becomes_this_ones(before: str, stamped: int) -> None:
    world, left = World("other"), Left(before, stamped=stamped, sealed=1)
    lane = world.release(left)
    assert left.arena.cluster_id == "other"
    assert (left.attachment.elsewhere, left.attachment.parked) == (False, 0)
    assert [item.elsewhere for item in lane.queue] == [False]


def test_a_cluster_that_does_not_say_which_it_is_changes_no_arena() -> None:
    world, left = World(""), Left("c", stamped=1)
    lane = world.release(left)
    assert left.arena.cluster_id == "c"
    assert len(lane.runs) == 1
