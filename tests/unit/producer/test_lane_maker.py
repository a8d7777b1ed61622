"""What a lane begins with."""

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from ingestd.config.library import read_library_settings
from ingestd.figures import Figures, TopicWord
from ingestd.producer.lane_maker import LaneMaker
from ingestd.producer.network.cluster import Topic
from tests.fakes.lane_world import LOST, NOW_MS, make_item


def make(producer_id: int = -1, *, expires_attempted: bool = False, **changes: Any) -> LaneMaker:
    config = {"bootstrap.servers": "k:1", "retry.backoff.ms": 100, "retry.backoff.max.ms": 100}
    settings = read_library_settings({**config, **{name.replace("_", "."): value for name, value in changes.items()}})
    identity: Any = SimpleNamespace(producer_id=producer_id, epoch=3)
    return LaneMaker(settings.producer, identity, Figures(["t"]), Random(1), expires_attempted=expires_attempted)


def test_it_writes_under_the_producer_id_that_there_is() -> None:
    lane = make(7).make(Topic("t"), 2)
    lane.enqueue(make_item(0))
    item = lane.take(NOW_MS, 0)
    assert item is not None
    assert (lane.partition, item.producer_id, item.epoch, item.sequence) == (2, 7, 3, 0)


def test_without_a_producer_id_its_batches_wait_for_one() -> None:
    lane = make().make(Topic("t"), 0)
    lane.enqueue(make_item(0))
    assert lane.take(NOW_MS, 0) is None
    lane.identity(9, 0)
    assert lane.take(NOW_MS, 0) is not None


def test_without_idempotence_nothing_is_numbered() -> None:
    lane = make(7, enable_idempotence=False).make(Topic("t"), 0)
    lane.enqueue(make_item(0))
    item = lane.take(NOW_MS, 0)
    assert item is not None
    assert item.producer_id == -1


def test_its_figures_are_its_topics_and_its_offsets_those_of_the_present_one() -> None:
    maker, topic = make(), Topic("t")
    one, other = maker.make(topic, 0), maker.make(topic, 1)
    one.figures[TopicWord.RECORDS_SENT] += 1
    assert other.figures[TopicWord.RECORDS_SENT] == 1
    assert maker.make(Topic("of before"), 0).figures[TopicWord.RECORDS_SENT] == 0
    assert one.offsets_of is topic.row


def test_whether_sent_batches_expire_is_what_was_said() -> None:
    for expires, count in ((True, 1), (False, 0)):
        lane = make(7, expires_attempted=expires).make(Topic("t"), 0)
        lane.enqueue(make_item(0))
        lane.take(NOW_MS, 0)
        assert len(lane.expire(1000, 1000)) == count


@pytest.mark.parametrize(("retries", "failed"), [(0, 1), (1, 0)])
def test_batches_are_tried_as_often_and_as_late_as_the_settings_say(retries: int, failed: int) -> None:
    lane = make(enable_idempotence=False, retries=retries).make(Topic("t"), 0)
    lane.enqueue(make_item(0))
    item = lane.take(NOW_MS, 0)
    assert item is not None
    lane.failed(item, LOST, 0)
    assert len(lane.resolve(0)) == failed
    if not failed:
        assert lane.retry_at_ms == 100
