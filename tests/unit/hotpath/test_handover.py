"""The queue between a program's threads and the thread of the arena: bounds, wake-ups, generations, outcomes."""

import random
import sys
from typing import Any

import pytest

from ingestd.hotpath.handover import CLOSED, FULL, QUEUED, Handover, Outgoing, tell

OVERHEAD = 256


def outgoing(key: bytes | None = None, value: bytes | None = b"v", callback: Any = None) -> Outgoing:
    return Outgoing(None, "t", 0, -1, 7, key, value, None, 0, callback)


def test_only_the_first_put_after_a_take_wakes() -> None:
    wakes: list[int] = []
    handover = Handover(1 << 20, 100, lambda: wakes.append(1))
    records = [outgoing() for _ in range(3)]
    assert [handover.put(record) for record in records] == [QUEUED] * 3
    assert len(wakes) == 1
    assert handover.take() == records
    assert handover.take() == []
    assert handover.put(outgoing()) == QUEUED
    assert len(wakes) == 2


def test_an_interrupt_on_the_way_to_the_taker_does_not_leave_it_asleep() -> None:
    """It raises in the caller; records of other threads, which find the taker awake, must not wait for the next put."""
    wakes: list[int] = []

    def wake() -> None:
        wakes.append(1)
        if len(wakes) == 1:
            raise KeyboardInterrupt

    handover = Handover(1 << 20, 100, wake)
    with pytest.raises(KeyboardInterrupt):
        handover.put(outgoing())
    assert handover.put(outgoing()) == QUEUED
    assert len(wakes) == 2


def test_sizes_are_those_of_the_bytes_handed_over() -> None:
    record = Outgoing(None, "t", 0, 4, 7, b"", None, b"12345", 1, None)
    assert (record.key_size, record.value_size, record.partition, record.timestamp_ms) == (0, -1, 4, 7)
    assert record.size_bytes == OVERHEAD + 5
    assert (record.offset, record.error, record.done()) == (-1, None, False)


def test_bytes_bound_the_queue_and_a_record_larger_than_it_fits_an_empty_one() -> None:
    handover = Handover(1000, 100, lambda: None)
    assert handover.put(outgoing(value=bytes(5000))) == QUEUED
    assert handover.bytes == OVERHEAD + 5000
    assert handover.put(outgoing()) == FULL
    handover.fail(handover.take(), ValueError())
    assert (handover.bytes, handover.outstanding) == (0, 0)
    assert handover.put(outgoing()) == QUEUED


def test_records_without_outcome_are_bounded() -> None:
    handover = Handover(1 << 20, 2, lambda: None)
    first = outgoing()
    assert [handover.put(record) for record in (first, outgoing(), outgoing())] == [QUEUED, QUEUED, FULL]
    handover.fail([first], ValueError())
    assert handover.put(outgoing()) == QUEUED


def test_nothing_enters_a_closed_one() -> None:
    handover = Handover(1 << 20, 2, lambda: None)
    handover.put(outgoing())
    handover.close()
    assert handover.closed
    assert handover.put(outgoing()) == CLOSED
    assert len(handover.take()) == 1


def test_an_outcome_comes_once_and_names_those_who_wait() -> None:
    handover = Handover(1 << 20, 10, lambda: None)
    called: list[object] = []
    silent, loud = outgoing(), outgoing(callback=lambda *outcome: called.append(outcome))
    waited = outgoing()
    assert waited.add_waiter(lambda: called.append("waiter"))
    for record in (silent, loud, waited):
        handover.put(record)
    error = ValueError("no")
    assert handover.fail([silent, loud, waited], error) == [loud, waited]
    assert handover.fail([silent, loud, waited], KeyError()) == []
    assert all(record.done() and record.error is error for record in (silent, loud, waited))
    assert not waited.add_waiter(lambda: None)
    tell([loud, waited], tuple, lambda: None)
    tell([loud, waited], tuple, lambda: None)
    assert called == [(None, error), "waiter"]


def test_those_who_are_told_may_raise_and_the_others_still_hear_of_it() -> None:
    called: list[object] = []

    def callback(*outcome: object) -> None:
        called.append(outcome)
        raise ZeroDivisionError

    handover = Handover(1 << 20, 10, lambda: None)
    first, second = outgoing(callback=callback), outgoing(callback=callback)
    first.add_waiter(lambda: called.append("waiter"))
    error = ValueError()
    raised: list[object] = []
    tell(handover.fail([first, second], error), tuple, lambda: raised.append(sys.exc_info()[0]))
    assert called == [(None, error), "waiter", (None, error)]
    assert raised == [ZeroDivisionError] * 2


def test_one_that_never_was_queued_can_fail_without_moving_the_counts() -> None:
    handover = Handover(1 << 20, 10, lambda: None)
    record = outgoing()
    handover.fail([record], ValueError())
    assert record.done()
    assert (handover.bytes, handover.outstanding) == (0, 0)


def test_generations_hold_what_was_handed_over_before(seed: int) -> None:
    """Against sets: after every step a closed generation is open exactly as long as a record of it has no outcome."""
    chance = random.Random(seed)
    handover = Handover(1 << 30, 1 << 30, lambda: None)
    pending: list[Outgoing] = []
    closed: list[tuple[list[Any], set[int]]] = []
    for _ in range(2000):
        step = chance.random()
        if step < 0.5:
            record = outgoing()
            handover.put(record)
            pending.append(record)
        elif step < 0.9 and pending:
            record = pending.pop(chance.randrange(len(pending)))
            handover.fail([record], ValueError())
        elif step >= 0.9:
            generations = handover.close_generation()
            assert bool(generations) == bool(pending)
            closed.append((generations, {id(record) for record in pending}))
        left = {id(record) for record in pending}
        for generations, records in closed:
            assert any(generation.open for generation in generations) == bool(records & left)
        assert handover.outstanding == len(pending)


@pytest.mark.parametrize(
    ("key", "value", "headers", "count", "bound"),
    [
        (None, None, None, 0, 61 + 21 + 1 + 1 + 1),
        (b"k", bytes(100), None, 0, 61 + 21 + 1 + 1 + 2 + 100 + 1),
        (bytes(64), bytes(8192), b"12345", 2, 61 + 21 + 2 + 64 + 3 + 8192 + 1 + 5),
    ],
)
def test_kafkas_estimate_of_a_batch_of_one(
    key: bytes | None, value: bytes | None, headers: bytes | None, count: int, bound: int
) -> None:
    assert Outgoing(None, "t", 0, -1, 7, key, value, headers, count, None).batch_bytes_bound() == bound
