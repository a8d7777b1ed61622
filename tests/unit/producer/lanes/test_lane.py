"""What a broker is believed to remember (no success is proof where that may be gone), and whose numbers are used."""

import pytest

from ingestd.metrics import Failed
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import EPOCH_MAX, Fail, Item, Numbers
from ingestd.producer.lanes.lane import OLD_MS, SHOWN_MS, Want
from tests.fakes.lane_world import DENIED, LOST, NOW_MS, World, make_item, make_lane

LATER_MS = NOW_MS + OLD_MS + 1


def take_all(lane: Lane, now_ms: int = NOW_MS, tick_ms: int = 1 << 30) -> list[Item]:
    items = []
    while (item := lane.take(now_ms, tick_ms)) is not None:
        item.stamped = True
        items.append(item)
    return items


def names(items: object) -> list[int]:
    return [item.batch.name for item in items]  # type: ignore[attr-defined]


def lose(lane: Lane, items: list[Item]) -> None:
    for item in items:
        lane.failed(item, LOST, 0)
    assert lane.resolve(0) == []


def settled_lane(timestamp_ms: int = NOW_MS) -> Lane:
    """One batch, numbered by this process, has been acknowledged."""
    lane = make_lane()
    lane.enqueue(make_item(0, timestamp_ms=timestamp_ms))
    [first] = take_all(lane)
    lane.succeeded(first, 0, NOW_MS)
    return lane


def recovered_lane(numbers: Numbers, count: int, *, idempotent: bool = True, granted: bool = True) -> Lane:
    lane = make_lane(idempotent=idempotent) if granted else Lane("t", 0, lambda _: 0)
    items = [make_item(number) for number in range(count)]
    for item in items:
        if numbers.epoch > EPOCH_MAX:
            item.risk = True
        else:
            numbers.give(item)
        item.stamped = item.in_doubt = True
    lane.add_run(items, numbers, [])
    return lane


def test_behind_an_idle_day_one_batch_goes_alone_again() -> None:
    lane = settled_lane()
    for number in (1, 2):
        lane.enqueue(make_item(number, timestamp_ms=LATER_MS))
    [first] = take_all(lane, LATER_MS)
    lane.succeeded(first, 1, LATER_MS)
    lane.enqueue(make_item(3, timestamp_ms=LATER_MS))
    assert names(take_all(lane, LATER_MS)) == [2, 3]


def test_behind_a_back_dated_batch_one_goes_alone() -> None:
    lane = settled_lane(NOW_MS - OLD_MS - 1)
    for number in (1, 2):
        lane.enqueue(make_item(number))
    assert names(take_all(lane)) == [1]


def test_behind_a_loss_a_success_proves_nothing_until_memory_is_shown() -> None:
    lane = settled_lane()
    for number in (1, 2, 3):
        lane.enqueue(make_item(number))
    items = take_all(lane)
    assert len(items) == 3
    lose(lane, items)
    # the broker has lost its memory meanwhile: it would take any of them
    assert take_all(lane) == items[:1]
    lane.failed(items[0], 19, 0)
    lane.resolve(0)
    assert take_all(lane) == items[:1]
    assert lane.succeeded(items[0], 1, NOW_MS) == (items[0],)
    assert take_all(lane) == items[1:]


def test_what_a_topic_made_anew_remembers_is_not_ours() -> None:
    lane = settled_lane()
    lane.last_offset = 100
    lane.topic_made_anew()
    for number in (1, 2):
        lane.enqueue(make_item(number))
    [first] = take_all(lane)
    assert names([first]) == [1]
    lane.succeeded(first, 0, NOW_MS)
    assert lane.regressions == []
    assert names(take_all(lane)) == [2]


def test_an_answer_of_the_former_topic_tells_nothing_of_the_new_one() -> None:
    lane = settled_lane()
    for number in (1, 2, 3):
        lane.enqueue(make_item(number))
    items = take_all(lane)
    lane.topic_made_anew()
    assert names(lane.succeeded(items[0], 500, NOW_MS)) == [1]
    lane.failed(items[1], 6, 0)
    assert names(lane.succeeded(items[2], 502, NOW_MS)) == [3]
    lane.resolve(0)
    assert names(take_all(lane)) == [2]
    lane.enqueue(make_item(4))
    lane.succeeded(items[1], 0, NOW_MS)
    assert lane.regressions == []


def test_memory_that_comes_from_a_batch_which_overtook_others_proves_none_of_them() -> None:
    """A topic made anew takes a probe at whatever sequence it has, and remembers it from then on."""
    lane = settled_lane()
    for number in (1, 2, 3):
        lane.enqueue(make_item(number))
    bad, second, third = take_all(lane)
    lose(lane, [bad, second, third])

    def ask(item: Item, code: int) -> None:
        assert take_all(lane, tick_ms=5000) == [item]
        lane.failed(item, code, 0)
        lane.resolve(0)

    ask(bad, 44)
    ask(second, 45)
    lane.topic_made_anew()
    ask(third, LOST)
    ask(bad, 44)
    ask(second, 45)
    assert take_all(lane, tick_ms=5000) == [third]
    assert lane.succeeded(third, 0, NOW_MS) == [third]
    assert (bad.overtaken, second.overtaken) == (True, True)


def test_a_success_below_an_acknowledged_offset_proves_nothing() -> None:
    lane = settled_lane()
    lane.last_offset = 100
    for number in (1, 2):
        lane.enqueue(make_item(number))
    first, second = take_all(lane)
    lane.failed(first, 6, 0)
    assert lane.succeeded(second, 0, NOW_MS) == [second]
    assert len(lane.regressions) == 1
    assert first.overtaken


def test_memory_shown_long_ago_is_asked_for_again() -> None:
    lane = settled_lane()
    for number in (1, 2):
        lane.enqueue(make_item(number))
    first, second = take_all(lane, tick_ms=0)
    lose(lane, [first, second])
    assert take_all(lane, tick_ms=1000) == [first]
    lane.failed(first, 45, 1000)
    lane.resolve(1000)
    assert take_all(lane, tick_ms=1000 + SHOWN_MS + 1) == [first]
    lane.failed(first, 45, 1000 + SHOWN_MS + 2)
    lane.resolve(0)
    assert take_all(lane, tick_ms=1000 + SHOWN_MS + 2) == [second]
    assert names(lane.succeeded(second, 5, NOW_MS)) == [1, 2]


def test_a_denied_partition_whose_recovered_batches_never_began_has_no_numbers_to_bump() -> None:
    lane = recovered_lane(Numbers(3, 0), 2)
    steps = lane.deny(3)
    assert [(step.item.batch.name, step.reason) for step in steps if isinstance(step, Fail)] == [
        (0, Failed.MAY_HAVE_BEEN_WRITTEN),
        (1, Failed.MAY_HAVE_BEEN_WRITTEN),
    ]
    assert not lane.has_work
    lane.enqueue(make_item(2))
    [item] = take_all(lane)
    assert (item.producer_id, item.epoch, item.sequence) == (7, 0, 0)


@pytest.mark.parametrize("granted", [False, True])
def test_batches_without_numbers_wait_for_a_fresh_producer_id(granted: bool) -> None:
    lane = recovered_lane(Numbers(-1, EPOCH_MAX + 1), 2, granted=granted)
    assert lane.take(NOW_MS, 0) is None
    assert lane.wants_identity is Want.FRESH
    assert lane.take(NOW_MS, 0) is None
    lane.identity(9, 0)
    assert [(item.producer_id, item.sequence, item.risk) for item in lane.renumbering] == [(9, 0, True), (9, 1, True)]
    lane.renumbered()
    assert names(take_all(lane)) == [0]


def test_without_idempotence_recovered_batches_go_as_they_are() -> None:
    lane = recovered_lane(Numbers(-1, EPOCH_MAX + 1), 2, idempotent=False)
    lane.enqueue(make_item(2))
    [first] = take_all(lane)
    assert (first.producer_id, first.sequence, first.risk) == (-1, -1, True)
    lane.succeeded(first, 0, NOW_MS)
    [second] = take_all(lane)
    lane.succeeded(second, 1, NOW_MS)
    assert names(take_all(lane)) == [2]


def test_an_outage_between_two_denials_is_none() -> None:
    lane = make_lane(1)
    for tick_ms, code, since_ms in (
        (0, DENIED, 0),
        (50_000, DENIED, 0),
        (60_000, LOST, 0),
        (100_000, DENIED, 0),
        (700_000, LOST, 0),
        (700_100, DENIED, 700_100),
        (760_000, DENIED, 700_100),
    ):
        item = lane.take(NOW_MS, tick_ms + 2000)
        assert item is not None
        lane.failed(item, code, tick_ms)
        lane.resolve(tick_ms)
        assert lane.denied_since_ms == since_ms


def test_a_pause_of_our_own_between_two_denials_is_no_outage() -> None:
    """retry.backoff.max.ms may be minutes."""
    lane = Lane("t", 0, lambda _: 120_000)
    lane.identity(7, 0)
    lane.enqueue(make_item(1))
    for tick_ms in range(0, 600_000, 120_000):
        item = lane.take(NOW_MS, tick_ms)
        assert item is not None
        lane.failed(item, DENIED, tick_ms)
        lane.resolve(tick_ms)
    assert (lane.denied_since_ms, lane.denied_last_ms) == (0, 480_000)


def test_without_idempotence_nobody_waits_for_a_producer_id() -> None:
    lane = recovered_lane(Numbers(3, 0), 2, idempotent=False)
    [first] = take_all(lane)
    lane.failed(first, 47, 0)
    lane.resolve(0)
    assert lane.wants_identity is Want.NOTHING
    assert [(item.producer_id, item.epoch, item.sequence) for item in lane.renumbering] == [(-1, -1, -1)] * 2
    lane.renumbered()
    assert take_all(lane) == [first]


def test_a_broker_that_always_fences_is_asked_ever_more_rarely() -> None:
    lane = make_lane(1)
    for failures in (1, 2, 3):
        [item] = take_all(lane)
        lane.failed(item, 47, 0)
        lane.resolve(0)
        lane.identity(10 + failures, 0)
        lane.renumbered()
        assert lane.take(NOW_MS, 100 * failures - 1) is None
        assert lane.retry_at_ms == 100 * failures


def test_a_batch_that_may_be_there_under_older_numbers_is_given_up_as_such() -> None:
    lane = make_lane(1)
    [item] = take_all(lane)
    item.risk = True
    lane.failed(item, 10, 0)
    [step] = lane.resolve(0)
    assert isinstance(step, Fail)
    assert (step.reason, step.maybe) == (Failed.MAY_HAVE_BEEN_WRITTEN, True)


@pytest.mark.parametrize("seed", range(300))
def test_where_memory_and_topics_do_not_last_nothing_is_lost_silently(seed: int) -> None:
    world = World(seed, 120, refusals=seed % 2 == 0, forgetful=True)
    world.run()
    world.judge()
