"""Batches in doubt that are too large by now: what an answer to a part of one shows, and what it does not."""

import pytest

from ingestd.kafka.errors import Action
from ingestd.metrics import Failed
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import EPOCH_MAX, Fail, Item, Split
from tests.fakes.lane_world import LOST, NOW_MS, REFUSED, TOO_LARGE, make_batch, make_lane

OUT_OF_ORDER = 45


def sent(lane: Lane, tick_ms: int = 10_000) -> list[Item]:
    items = []
    while (item := lane.take(NOW_MS, tick_ms)) is not None:
        item.stamped = True
        items.append(item)
    return items


def answered(lane: Lane, code: int, count: int = 1) -> Item:
    """The next ones to be sent are, and all get ``code``; returns the first."""
    items = sent(lane)
    assert len(items) == count
    for item in items:
        if code:
            lane.failed(item, code, 0)
        else:
            lane.succeeded(item, 0, NOW_MS)
    return items[0]


def split(lane: Lane) -> None:
    [step] = lane.resolve(0)
    assert isinstance(step, Split)
    ids = step.item.batch.ids
    middle = len(ids) // 2
    lane.divided(step, *(make_batch(step.item.batch.name, part) for part in (ids[:middle], ids[middle:])))
    for item in lane.renumbering:
        item.stamped = True
    lane.renumbered()


def lost(count: int, records: int = 4) -> Lane:
    """A lane whose first ``count`` batches were sent, and nobody knows what became of them."""
    lane = make_lane(count, confirmed=True, records=records)
    answered(lane, LOST, count)
    assert lane.resolve(0) == []
    return lane


def cut_behind_one_in_doubt() -> Lane:
    """The broker does not recognise the first of two in doubt, and the second is too large for it: cut in two."""
    lane = lost(2)
    answered(lane, OUT_OF_ORDER)
    assert lane.resolve(0) == []
    answered(lane, TOO_LARGE)
    split(lane)
    return lane


def test_the_repeat_of_what_stands_before_a_whole_does_not_show_that_it_is_not_there() -> None:
    lane = cut_behind_one_in_doubt()
    # another leader remembers more
    answered(lane, 0)
    first, second = lane.window
    assert sent(lane) == [first, second]
    assert (first.in_doubt, second.in_doubt) == (True, True)


def test_a_part_that_is_taken_shows_that_the_others_are_not_there() -> None:
    lane = lost(1)
    answered(lane, TOO_LARGE)
    split(lane)
    answered(lane, 0)
    [second] = lane.window
    assert (second.in_doubt, second.cut) == (False, 0)


def test_parts_behind_one_that_is_given_up_may_be_there_twice() -> None:
    lane = cut_behind_one_in_doubt()
    [head, first, second] = lane.window
    head.action, head.code = Action.REFUSED, REFUSED
    first.action = second.action = Action.OUT_OF_ORDER
    lane.halted = True
    [step] = lane.resolve(0)
    assert isinstance(step, Fail)
    assert (step.item, step.reason) == (head, Failed.MAY_HAVE_BEEN_WRITTEN)
    assert lane.renumbering == [first, second]
    assert (first.risk, second.risk) == (True, True)


def test_a_part_is_no_witness_for_the_one_before_it() -> None:
    lane = lost(1)
    answered(lane, TOO_LARGE)
    split(lane)
    first, second = lane.window
    answered(lane, REFUSED)
    [step] = lane.resolve(0)
    assert isinstance(step, Fail)
    assert (step.item, step.maybe) == (first, True)
    assert lane.renumbering == [second]
    assert second.risk


def test_a_part_that_was_never_sent_is_no_witness_for_a_broker_without_memory() -> None:
    """Found by a successor, which does not know any more which parts belong together."""
    lane = lost(1)
    answered(lane, TOO_LARGE)
    split(lane)
    first, second = lane.window
    second.cut += 1
    answered(lane, REFUSED)
    [step] = lane.resolve(0)
    assert isinstance(step, Fail)
    assert (step.item, second.risk) == (first, True)


def test_what_a_success_behind_it_has_not_proven_may_be_there_twice() -> None:
    lane = lost(3)
    head, overtaken, _ = lane.window
    answered(lane, REFUSED)
    assert lane.resolve(0) == []
    answered(lane, OUT_OF_ORDER)
    assert lane.resolve(0) == []
    # What the broker's memory ended with is older than it is sure to remember.
    lane.numbers.seen_ms = 0
    answered(lane, 0)
    [step] = lane.resolve(0)
    assert isinstance(step, Fail)
    assert step.item is head
    assert lane.window == [overtaken]
    assert overtaken.risk


def test_a_refusal_of_one_that_was_overtaken_tells_nothing_of_the_age_of_what_the_broker_remembers() -> None:
    lane = lost(3)
    _, taken, _ = lane.window
    taken.oldest_ms -= 1
    answered(lane, OUT_OF_ORDER)
    assert lane.resolve(0) == []
    lane.numbers.seen_ms = 0
    answered(lane, 0)
    assert lane.resolve(0) == []
    head, last = lane.window
    assert answered(lane, LOST) is last
    assert lane.resolve(0) == []
    assert answered(lane, OUT_OF_ORDER) is head
    assert lane.numbers.seen_ms == taken.oldest_ms


@pytest.mark.parametrize("epoch", [0, EPOCH_MAX])
def test_under_new_numbers_none_goes_ahead_of_another(epoch: int) -> None:
    lane = lost(3)
    assert lane.own is not None
    lane.own.epoch = epoch
    for _ in range(2):
        answered(lane, REFUSED)
        assert lane.resolve(0) == []
    answered(lane, REFUSED)
    [step] = lane.resolve(0)
    assert isinstance(step, Fail)
    if epoch == EPOCH_MAX:
        lane.identity(9, 0)
    lane.renumbered()
    first, second = lane.window
    assert (first.risk, second.risk) == (True, True)
    for _ in range(2):
        item = answered(lane, LOST)
        assert item is first
        assert lane.resolve(0) == []
    # a broker without memory would take the second one now
    assert answered(lane, REFUSED) is first
    [step] = lane.resolve(0)
    assert isinstance(step, Fail)
    assert (step.item, step.maybe) == (first, True)
