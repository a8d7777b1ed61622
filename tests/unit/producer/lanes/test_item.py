"""Batches that are too large become two: their numbers, their risk, and no room for them."""

import pytest

from ingestd.metrics import Failed
from ingestd.producer.lanes.delivery import PART_ATTEMPTS_MAX, Lane
from ingestd.producer.lanes.item import FLAG_CUT, Split
from tests.fakes.lane_world import LOST, NOW_MS, make_batch, make_item, make_lane, refuse, take_all


def test_a_batch_that_is_too_large_becomes_two_that_tile_its_numbers() -> None:
    lane = make_lane(2, confirmed=True, records=5)
    head, behind = take_all(lane)
    refuse(lane, head, 10)
    refuse(lane, behind, 45)
    [step] = lane.resolve(0)
    assert step == Split(head, 10, maybe=False)
    lane.divided(step, make_batch(0, (0, 1)), make_batch(0, (2, 3, 4)))
    assert [(item.epoch, item.sequence, item.record_count) for item in lane.window] == [(0, 0, 2), (0, 2, 3), (0, 5, 5)]
    assert lane.renumbering == lane.window[:2]
    assert [item.attempts for item in lane.window[:2]] == [0, 0]
    assert lane.waiting_bytes == 300
    lane.renumbered()
    assert take_all(lane, lane.retry_at_ms) == lane.window[:1]


def in_doubt_and_split() -> Lane:
    """One batch that may be in the log, as two, of which the first is refused for order."""
    lane = make_lane(1, confirmed=True, records=5)
    [head] = take_all(lane)
    refuse(lane, head, LOST)
    lane.resolve(0)
    take_all(lane, 10_000)
    refuse(lane, head, 10)
    [step] = lane.resolve(10_000)
    assert step == Split(head, 10, maybe=True)
    lane.divided(step, make_batch(0, (0, 1)), make_batch(0, (2, 3, 4)))
    assert [(item.epoch, item.sequence, item.risk) for item in lane.renumbering] == [(0, 0, False), (0, 2, False)]
    assert [item.flags for item in lane.renumbering] == [FLAG_CUT, FLAG_CUT]
    lane.renumbered()
    [first] = take_all(lane, lane.retry_at_ms)
    assert first is lane.window[0]
    refuse(lane, first, 45)
    return lane


def test_a_part_that_is_taken_shows_that_the_whole_is_not_in_the_log() -> None:
    lane = in_doubt_and_split()
    first, second = lane.window
    lane.resolve(0)
    assert take_all(lane, lane.retry_at_ms) == [first]
    lane.succeeded(first, 100, NOW_MS)
    assert take_all(lane) == [second]
    assert (second.in_doubt, second.flags) == (False, 0)
    lane.succeeded(second, 102, NOW_MS)
    assert (first.risk, second.risk) == (False, False)


def test_parts_of_what_is_in_the_log_as_a_whole_are_proven_by_the_next_batch() -> None:
    lane = in_doubt_and_split()
    first, second = lane.window
    lane.enqueue(make_item(1, 3, first=5))
    assert lane.resolve(0) == []
    [witness] = take_all(lane, lane.retry_at_ms)
    assert (witness.epoch, witness.sequence) == (0, 5)
    assert lane.succeeded(witness, 105, NOW_MS) == [first, second, witness]
    assert (first.risk, second.risk, lane.has_work) == (False, False, False)


def test_parts_that_nothing_proves_go_out_again_at_risk() -> None:
    lane = in_doubt_and_split()
    steps = []
    for _ in range(PART_ATTEMPTS_MAX):
        if lane.must_resolve:
            steps += lane.resolve(lane.retry_at_ms)
        if lane.renumbering:
            break
        [first] = take_all(lane, lane.retry_at_ms)
        refuse(lane, first, 45)
    assert steps == [], "no loss is suspected"
    assert [(item.epoch, item.sequence, item.risk) for item in lane.renumbering] == [(1, 0, True), (1, 2, True)]


@pytest.mark.parametrize("maybe", [False, True])
def test_a_batch_that_finds_no_room_to_be_split_fails_and_leaves_no_gap(maybe: bool) -> None:
    lane = make_lane(2, confirmed=True, records=5)
    head, behind = take_all(lane)
    refuse(lane, head, LOST if maybe else 10)
    refuse(lane, behind, 45)
    if maybe:
        lane.resolve(0)
        take_all(lane, 10_000)
        refuse(lane, head, 10)
    [step] = lane.resolve(10_000)
    assert isinstance(step, Split)
    fail = lane.not_divided(step)
    assert (fail.reason, fail.maybe) == (Failed.MAY_HAVE_BEEN_WRITTEN if maybe else Failed.MESSAGE_TOO_LARGE, maybe)
    assert [(item.epoch, item.sequence) for item in lane.renumbering] == [(1, 0)]


def test_a_window_that_a_split_made_long_is_in_flight_no_further_than_a_broker_remembers() -> None:
    lane = make_lane(5, confirmed=True, records=4)
    items = take_all(lane)
    refuse(lane, items[0], 10)
    for item in items[1:]:
        refuse(lane, item, 45)
    for _ in range(2):
        [step] = lane.resolve(0)
        assert isinstance(step, Split)
        half = step.item.record_count // 2
        lane.divided(step, make_batch(0, tuple(range(half))), make_batch(0, tuple(range(half))))
        lane.renumbered()
        if half > 1:
            [head] = take_all(lane, 1 << 40)
            refuse(lane, head, 10)
    assert len(lane.window) == 7
    [head] = take_all(lane, 1 << 40)
    lane.succeeded(head, 0, NOW_MS)
    assert len(take_all(lane, 1 << 40)) == 5
    assert len(lane.window) == 6
