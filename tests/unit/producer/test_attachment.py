"""What the producer knows of an arena."""

import logging
from typing import Any

import pytest

from ingestd.figures import Figures, TopicWord
from ingestd.producer.attachment import Attachment
from ingestd.producer.compression import PLAIN
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.meter import Meter
from ingestd.producer.network.cluster import Topic
from tests.reference.native_frame import WireRecord, records_frame
from tests.reference.rig import NOW_MS, TICK_MS, Rig


def lane() -> Lane:
    return Lane(Topic("t0"), 0, lambda _: 0)


def test_topics_that_an_arena_gains_are_known() -> None:
    rig = Rig()
    attachment = Attachment(rig.arena, rig.intake)
    row = rig.arena.topic_add("later")
    assert (attachment.topic_name(0), attachment.topic_name(row)) == ("t0", "later")


def test_batches_of_a_topic_become_smaller_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    rig, of_t0 = Rig(batch_bytes=8192), lane()
    stream = rig.stream("frames")
    attachment = Attachment(rig.arena, rig.intake)
    attachment.remember((0, 2), of_t0, PLAIN)
    with caplog.at_level(logging.WARNING):
        for batch_bytes in (2000, 3000):
            attachment.shrink(of_t0, batch_bytes)
    assert [record.getMessage()[:22] for record in caplog.records] == ["t0: batch.size is 2000"]
    for _ in range(3):
        stream.feed(records_frame([WireRecord(bytes(900))], topic=b"t0"), NOW_MS, TICK_MS)
    rig.drain()
    assert len(rig.sizes) == 2
    assert max(rig.sizes) <= 2000


def test_an_arena_that_only_drains_fills_no_batches() -> None:
    rig, of_t0 = Rig(), lane()
    attachment = Attachment(rig.arena, None)
    attachment.shrink(of_t0, 2000)  # it does not even know the lane


def test_a_topic_of_another_configuration_fills_no_batches(caplog: pytest.LogCaptureFixture) -> None:
    rig, of_t0 = Rig(), lane()
    attachment = Attachment(rig.arena, rig.intake)
    attachment.remember((rig.arena.topic_add("before"), 0), of_t0, PLAIN)
    attachment.shrink(of_t0, 2000)
    assert not caplog.records


def test_what_waits_is_told_by_topic_until_it_is_taken() -> None:
    rig, meter = Rig(partitions=2), Meter(Figures(["t0"]))
    stream = rig.stream("frames")
    attachment = Attachment(rig.arena, None)

    def waiting() -> tuple[int, ...]:
        meter.begin()
        attachment.survey(meter)
        row = meter.figures.topic("t0")
        return row[TopicWord.OLDEST_CREATED_MS], row[TopicWord.BATCHES_WAITING], row[TopicWord.BYTES_WAITING]

    for number, age_ms in ((0, 50), (1, 90)):
        frame = records_frame([WireRecord(b"v", partition=number)], topic=b"t0")
        stream.feed(frame, NOW_MS - age_ms, TICK_MS)
    rig.intake.seal_all()
    batches: list[Any] = rig.arena.take_sealed()
    for batch in batches:
        attachment.wait(batch)
    assert waiting() == (NOW_MS - 90, 2, sum(batch.size_bytes for batch in batches))
    assert attachment.take_waiting() == batches
    assert waiting() == (0, 0, 0)
    assert attachment.waiting == []
