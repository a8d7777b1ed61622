"""What delivery.timeout.ms ends, sent or not, and the numbers that it leaves behind."""

import pytest

from ingestd.metrics import Failed
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import Fail
from ingestd.producer.lanes.lane import OLD_MS
from tests.fakes.lane_world import LOST, NOW_MS, World, make_item, make_lane, refuse, take_all


def expiring_lane(count: int) -> Lane:
    return make_lane(count, confirmed=True, expires_attempted=True)


def test_a_batch_that_expires_in_flight_is_failed_once_and_what_follows_waits_for_its_answer() -> None:
    lane = expiring_lane(2)
    first, second = take_all(lane)
    lane.enqueue(make_item(2, tick_ms=900))
    steps = lane.expire(1000, 1000)
    assert [(step.item, step.reason, step.maybe) for step in steps if isinstance(step, Fail)] == [
        (first, Failed.MAY_HAVE_BEEN_WRITTEN, True),
        (second, Failed.MAY_HAVE_BEEN_WRITTEN, True),
    ]
    assert lane.take(NOW_MS, 1000) is None
    # late, but an answer: the broker has both, and the numbers go on
    assert lane.succeeded(first, 0, NOW_MS) == ()
    assert lane.succeeded(second, 1, NOW_MS) == ()
    assert lane.expire(1000, 1000) == []
    assert lane.must_resolve
    assert lane.resolve(1000) == []
    [third] = take_all(lane, 1000)
    assert (third.epoch, third.sequence) == (0, 2)


@pytest.mark.parametrize("code", [LOST, 19, 10])
def test_numbers_that_stay_unresolved_are_left_behind(code: int) -> None:
    lane = expiring_lane(1)
    [first] = take_all(lane)
    lane.enqueue(make_item(1, tick_ms=900))
    lane.expire(1000, 1000)
    refuse(lane, first, code, 1000)
    assert lane.resolve(1000) == []
    assert lane.renumbering == []
    [second] = take_all(lane, 1000)
    assert (second.epoch, second.sequence, second.risk) == (1, 0, False)


def test_a_batch_behind_an_expired_one_keeps_its_numbers_where_the_broker_takes_it() -> None:
    lane = expiring_lane(0)
    for number in range(2):
        lane.enqueue(make_item(number, tick_ms=500 * number))
    first, second = take_all(lane)
    assert [step.item for step in lane.expire(1000, 1000) if isinstance(step, Fail)] == [first]
    refuse(lane, first, LOST, 1000)
    refuse(lane, second, LOST, 1000)
    assert lane.resolve(1000) == []
    lane.enqueue(make_item(2, tick_ms=1000))
    assert take_all(lane, 1400) == [second]
    assert lane.succeeded(second, 7, NOW_MS) == (second,)
    [third] = take_all(lane, 1400)
    assert (third.epoch, third.sequence) == (0, 2)


def test_a_batch_behind_an_expired_one_that_was_not_written_takes_new_numbers_and_nothing_is_suspected() -> None:
    lane = expiring_lane(0)
    for number in range(2):
        lane.enqueue(make_item(number, tick_ms=500 * number))
    first, second = take_all(lane)
    lane.expire(1000, 1000)
    refuse(lane, first, LOST, 1000)
    refuse(lane, second, 45, 1000)
    assert lane.resolve(1000) == []
    assert lane.renumbering == [second]
    assert (second.epoch, second.sequence, second.risk) == (1, 0, False)


def test_a_success_from_before_the_topic_was_made_anew_does_not_leave_expired_numbers_behind_for_ever() -> None:
    lane = expiring_lane(0)
    for number in range(2):
        lane.enqueue(make_item(number, tick_ms=500 * number))
    first, second = take_all(lane)
    lane.expire(1000, 1000)
    lane.topic_made_anew()
    refuse(lane, first, 19, 1000)
    assert list(lane.succeeded(second, 1, NOW_MS)) == [second]
    lane.enqueue(make_item(2, tick_ms=1000))
    assert lane.must_resolve
    assert lane.resolve(1000) == []
    [third] = take_all(lane, 1000)
    assert (third.epoch, third.sequence) == (1, 0)


@pytest.mark.parametrize(
    ("met", "trouble", "code", "text"),
    [
        ((19, "too few"), (13, "b:9092: refused"), 19, "last error NOT_ENOUGH_REPLICAS: too few"),
        ((0, ""), (13, "b:9092: refused"), 13, "last error NETWORK_EXCEPTION: b:9092: refused"),
        ((0, ""), (0, ""), 0, "delivery.timeout.ms passed"),
    ],
)
def test_an_expired_batch_tells_what_stood_in_its_way(
    met: tuple[int, str], trouble: tuple[int, str], code: int, text: str
) -> None:
    lane = make_lane(2)
    [first] = take_all(lane)
    if met[0]:
        lane.failed(first, met[0], 0, (), met[1])
    [step] = lane.expire(1000, 1000, trouble)
    assert isinstance(step, Fail)
    assert (step.code, step.maybe) == (code, False)
    assert text in step.text


@pytest.mark.parametrize("denied", [True, False])
def test_a_batch_never_sent_that_is_part_of_one_that_was_says_so(denied: bool) -> None:
    """A death between a split and the new numbers leaves such ones (FLAG_RISK)."""
    lane = make_lane(2)
    part, whole = lane.queue
    part.risk = True
    steps = lane.deny(29) if denied else lane.expire(1000, 1000)
    reason = Failed.TOPIC_DENIED if denied else Failed.DELIVERY_TIMEOUT
    assert [(step.item, step.reason, step.maybe) for step in steps if isinstance(step, Fail)] == [
        (part, Failed.MAY_HAVE_BEEN_WRITTEN, True),
        (whole, reason, False),
    ]


def test_a_topic_that_is_denied_leaves_no_numbers_unresolved() -> None:
    lane = expiring_lane(1)
    [first] = take_all(lane)
    lane.expire(1000, 1000)
    refuse(lane, first, LOST, 1000)
    lane.enqueue(make_item(1, tick_ms=900))
    lane.deny(29)
    lane.enqueue(make_item(2, tick_ms=1000))
    [third] = take_all(lane, 1000)
    assert (third.epoch, third.sequence) == (1, 0)


def test_what_was_given_up_and_is_there_after_all_is_what_the_broker_remembers() -> None:
    """It may be a batch of old records, which a broker forgets early."""
    lane = expiring_lane(0)
    lane.enqueue(make_item(0, timestamp_ms=NOW_MS - OLD_MS - 1))
    [old] = take_all(lane)
    lane.expire(1000, 1000)
    lane.succeeded(old, 0, NOW_MS)
    lane.resolve(1000)
    lane.enqueue(make_item(1, tick_ms=1000))
    [new] = take_all(lane, 1000)
    assert (new.epoch, new.sequence) == (0, 1)
    # where it is forgotten by now, the broker would take anything, and what it takes proves nothing
    assert not lane.numbers.known


@pytest.mark.parametrize("seed", range(300))
def test_where_memory_and_topics_do_not_last_batches_that_expire_leave_no_lane_behind(seed: int) -> None:
    limits = (1, 3, 7) if seed % 5 == 0 else ()
    timeout_ms = (4000, 20_000)[seed % 2]
    world = World(seed, 60, timeout_ms=timeout_ms, refusals=seed % 3 == 0, forgetful=True, limits=limits)
    world.run()
    world.judge()
