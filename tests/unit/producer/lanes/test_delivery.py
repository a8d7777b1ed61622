"""The decisions about one partition's batches, against a broker that follows Kafka's table (docs/kafka.md 1)."""

import pytest

from ingestd.metrics import Failed
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import EPOCH_MAX, Fail, Numbers, Repair, Suspicion
from ingestd.producer.lanes.lane import OLD_MS, TRIES_MAX, Want
from tests.fakes.lane_world import LOST, NOW_MS, World, make_item, make_lane, refuse, take_all


def names(items: object) -> list[int]:
    return [item.batch.name for item in items]  # type: ignore[attr-defined]


def test_one_batch_is_in_flight_until_the_first_success() -> None:
    lane = make_lane(8)
    [first] = take_all(lane)
    assert (first.producer_id, first.epoch, first.sequence) == (7, 0, 0)
    assert lane.succeeded(first, 0, NOW_MS) == (first,)
    assert names(take_all(lane)) == [1, 2, 3, 4, 5]


def test_at_most_five_are_in_doubt_and_sequences_tile() -> None:
    lane = make_lane(8, confirmed=True, records=3)
    items = take_all(lane)
    assert [item.sequence for item in items] == [0, 3, 6, 9, 12]
    lane.succeeded(items[0], 0, NOW_MS)
    assert [item.sequence for item in take_all(lane)] == [15]


def test_sequences_wrap_at_the_end_of_31_bits() -> None:
    lane = make_lane(2, confirmed=True, records=3)
    assert lane.own is not None
    lane.own.next_sequence = 2**31 - 2
    assert [item.sequence for item in take_all(lane)] == [2**31 - 2, 1]


def test_a_lane_without_a_producer_id_asks_for_one() -> None:
    lane = Lane("t", 0, lambda _: 0)
    lane.enqueue(make_item(0))
    assert lane.take(NOW_MS, 0) is None
    assert lane.wants_identity is Want.SHARED
    lane.identity(9, 4)
    assert take_all(lane)[0].producer_id == 9


def test_after_a_loss_all_are_sent_again_in_order_with_the_same_numbers() -> None:
    lane = make_lane(3, confirmed=True)
    items = take_all(lane)
    for item in items:
        refuse(lane, item, LOST)
    assert lane.take(NOW_MS, 0) is None
    assert lane.resolve(0) == []
    assert take_all(lane, 50) == []
    # the first alone, until it shows that the broker still has memory
    assert take_all(lane, lane.retry_at_ms) == items[:1]
    lane.succeeded(items[0], 0, NOW_MS)
    assert take_all(lane) == items[1:]
    assert [item.sequence for item in items] == [0, 1, 2]


def test_nothing_is_decided_while_something_is_in_flight() -> None:
    lane = make_lane(2, confirmed=True)
    first, second = take_all(lane)
    refuse(lane, first, 19)
    assert not lane.must_resolve
    assert lane.take(NOW_MS, 10_000) is None
    refuse(lane, second, 45)
    assert lane.must_resolve


def test_a_success_behind_refusals_for_order_proves_what_was_in_doubt() -> None:
    lane = make_lane(5, confirmed=True)
    items = take_all(lane)
    for item in items:
        refuse(lane, item, LOST)
    lane.resolve(0)
    for item in items[:4]:
        assert take_all(lane, 10_000) == [item]
        refuse(lane, item, 45, 10_000)
        lane.resolve(10_000)
    assert take_all(lane, 10_000) == items[4:]
    assert names(lane.succeeded(items[4], 40, NOW_MS)) == [0, 1, 2, 3, 4]
    assert not any(item.risk for item in items)
    assert not lane.has_work


def test_a_success_does_not_prove_what_was_definitely_not_written() -> None:
    lane = make_lane(2, confirmed=True)
    first, second = take_all(lane)
    refuse(lane, first, 19)
    assert names(lane.succeeded(second, 40, NOW_MS)) == [1]
    assert lane.must_resolve
    lane.resolve(0)
    assert names(take_all(lane, 10_000)) == [0]


def test_refusals_for_order_behind_a_retriable_error_are_void_after_it() -> None:
    lane = make_lane(3, confirmed=True)
    items = take_all(lane)
    refuse(lane, items[0], 19)
    refuse(lane, items[1], 45)
    refuse(lane, items[2], 45)
    assert lane.resolve(0) == []
    assert names(take_all(lane, 10_000)) == [0]
    lane.succeeded(items[0], 0, NOW_MS)
    assert names(take_all(lane)) == [1, 2]
    assert lane.numbers.epoch == 0


def test_all_refused_twice_is_suspected_data_loss_at_the_next_epoch() -> None:
    lane = make_lane(2, confirmed=True)
    items = take_all(lane)
    refuse(lane, items[0], LOST)
    refuse(lane, items[1], 45)
    lane.resolve(0)
    for item in take_all(lane, 10_000):
        refuse(lane, item, 45)
    assert lane.resolve(0) == []
    assert lane.wants_refresh
    for item in take_all(lane, 20_000):
        refuse(lane, item, 45)
    [step] = lane.resolve(0)
    assert isinstance(step, Suspicion)
    assert lane.take(NOW_MS, 30_000) is None
    assert [(item.epoch, item.sequence, item.risk) for item in lane.renumbering] == [(1, 0, True), (1, 1, False)]
    lane.renumbered()
    assert names(take_all(lane, 30_000)) == [0]


def test_the_probe_behind_a_refused_head_is_the_next_one_in_doubt() -> None:
    lane = make_lane(3, confirmed=True)
    items = take_all(lane)
    for item in items:
        refuse(lane, item, LOST)
    lane.resolve(0)
    assert names(take_all(lane, 10_000)) == [0]
    refuse(lane, items[0], 45, 10_000)
    assert lane.resolve(10_000) == []
    assert names(take_all(lane, 10_000)) == [1]
    assert names(lane.succeeded(items[1], 5, NOW_MS)) == [0, 1]
    lane.resolve(20_000)
    assert names(take_all(lane, 30_000)) == [2]


def test_a_probe_that_meets_an_error_voids_what_the_head_met() -> None:
    lane = make_lane(2, confirmed=True)
    items = take_all(lane)
    for item in items:
        refuse(lane, item, LOST)
    lane.resolve(0)
    take_all(lane, 10_000)
    refuse(lane, items[0], 45, 10_000)
    lane.resolve(10_000)
    assert names(take_all(lane, 10_000)) == [1]
    refuse(lane, items[1], LOST, 10_000)
    lane.resolve(10_000)
    assert names(take_all(lane, 20_000)) == [0]


def test_a_definite_refusal_fails_alone_and_the_rest_takes_the_next_epoch() -> None:
    lane = make_lane(3, confirmed=True)
    items = take_all(lane)
    refuse(lane, items[0], 10)
    refuse(lane, items[1], 45)
    refuse(lane, items[2], LOST)
    [step] = lane.resolve(0)
    assert isinstance(step, Fail)
    assert (step.item, step.reason, step.maybe) == (items[0], Failed.MESSAGE_TOO_LARGE, False)
    assert [(item.epoch, item.sequence, item.in_doubt, item.risk) for item in lane.renumbering] == [
        (1, 0, False, False),
        (1, 1, False, False),
    ]


def test_a_refusal_in_the_middle_waits_until_those_before_it_are_settled() -> None:
    lane = make_lane(3, confirmed=True)
    items = take_all(lane)
    refuse(lane, items[0], 7)
    refuse(lane, items[1], 10)
    refuse(lane, items[2], 45)
    assert lane.resolve(0) == []
    assert names(take_all(lane, 10_000)) == [0]
    lane.succeeded(items[0], 0, NOW_MS)
    assert names(take_all(lane, 10_000)) == [1, 2]
    refuse(lane, items[1], 10)
    refuse(lane, items[2], 45)
    [step] = lane.resolve(10_000)
    assert isinstance(step, Fail)
    assert names(lane.renumbering) == [2]


def test_a_batch_in_doubt_that_meets_only_refusals_may_have_been_written() -> None:
    lane = make_lane(1, confirmed=True)
    [item] = take_all(lane)
    refuse(lane, item, LOST)
    lane.resolve(0)
    take_all(lane, 10_000)
    refuse(lane, item, 10)
    [step] = lane.resolve(10_000)
    assert isinstance(step, Fail)
    assert (step.reason, step.maybe) == (Failed.MAY_HAVE_BEEN_WRITTEN, True)
    assert lane.own is not None
    assert (lane.own.epoch, lane.own.next_sequence, lane.own.confirmed) == (1, 0, False)


def test_a_batch_in_doubt_and_refused_is_proven_by_one_behind_it() -> None:
    lane = make_lane(3, confirmed=True)
    items = take_all(lane)
    for item in items:
        refuse(lane, item, LOST)
    lane.resolve(0)
    assert names(take_all(lane, 10_000)) == [0]
    refuse(lane, items[0], 10)
    assert lane.resolve(10_000) == []
    assert names(take_all(lane, 20_000)) == [1]
    refuse(lane, items[1], 45, 20_000)
    assert lane.resolve(20_000) == []
    assert names(take_all(lane, 20_000)) == [2]
    assert names(lane.succeeded(items[2], 1, NOW_MS)) == [0, 1, 2]


def test_a_success_behind_a_refused_head_proves_nothing_where_no_memory_was_shown() -> None:
    lane = make_lane(2, confirmed=True)
    items = take_all(lane)
    for item in items:
        refuse(lane, item, LOST)
    lane.resolve(0)
    take_all(lane, 10_000)
    refuse(lane, items[0], 10)
    lane.resolve(10_000)
    assert names(take_all(lane, 20_000)) == [1]
    assert names(lane.succeeded(items[1], 1, NOW_MS)) == [1]
    [step] = lane.resolve(20_000)
    assert isinstance(step, Fail)
    assert step.maybe


def test_bad_records_are_taken_out_and_a_lone_batch_keeps_its_base_sequence() -> None:
    lane = make_lane(1, confirmed=True, records=5)
    [item] = take_all(lane)
    lane.failed(item, 87, 0, ((1, "no key"), (3, "no key")), "two")
    [step] = lane.resolve(0)
    assert step == Repair(item, 87, ((1, "no key"), (3, "no key")))
    assert lane.renumbering == [item]
    assert (item.sequence, item.epoch, item.record_count, item.stamped) == (0, 0, 3, False)
    lane.renumbered()
    assert take_all(lane) == [item]
    lane.enqueue(make_item(1))
    assert take_all(lane)[0].sequence == 3


def test_bad_records_with_batches_behind_move_all_to_the_next_epoch() -> None:
    lane = make_lane(2, confirmed=True, records=5)
    first, second = take_all(lane)
    lane.failed(first, 87, 0, ((4, "bad"),))
    refuse(lane, second, 45)
    [step] = lane.resolve(0)
    assert isinstance(step, Repair)
    assert [(item.epoch, item.sequence, item.stamped) for item in lane.renumbering] == [(1, 0, False), (1, 4, True)]


@pytest.mark.parametrize(
    ("errors", "reason"),
    [((), Failed.BROKER_REFUSED), (((0, "a"), (1, "b")), Failed.RECORD_REFUSED), (((7, "a"),), Failed.RECORD_REFUSED)],
)
def test_invalid_record_without_a_good_rest_fails_the_batch(
    errors: tuple[tuple[int, str], ...], reason: Failed
) -> None:
    lane = make_lane(1, confirmed=True, records=2)
    [item] = take_all(lane)
    lane.failed(item, 87, 0, errors)
    [step] = lane.resolve(0)
    assert isinstance(step, Fail)
    assert step.reason == reason


def test_an_unknown_error_is_tried_a_few_times_and_then_may_have_been_written() -> None:
    lane = make_lane(1, confirmed=True)
    for code in (*[-1] * TRIES_MAX, 19, LOST, *[-1] * TRIES_MAX):
        [item] = take_all(lane, 1 << 40)
        refuse(lane, item, code)
        assert lane.resolve(0) == []
    [item] = take_all(lane, 1 << 40)
    refuse(lane, item, -1)
    [step] = lane.resolve(0)
    assert isinstance(step, Fail)
    assert step.maybe


def test_old_batches_go_one_at_a_time_and_a_repeat_counts_as_possible_duplicate() -> None:
    lane = make_lane(0, confirmed=True)
    for number in range(2):
        lane.enqueue(make_item(number, timestamp_ms=NOW_MS - OLD_MS - 1))
    [item] = take_all(lane)
    assert item.batch.name == 0
    refuse(lane, item, LOST)
    lane.resolve(0)
    assert take_all(lane, 10_000) == [item]
    assert item.risk


def test_where_memory_may_be_gone_a_success_proves_only_itself() -> None:
    lane = make_lane(2, confirmed=True)
    first, second = take_all(lane)
    refuse(lane, first, LOST)
    refuse(lane, second, LOST)
    lane.resolve(0)
    later_ms = NOW_MS + OLD_MS + 1
    assert lane.take(later_ms, 10_000) is first
    assert lane.take(later_ms, 10_000) is None
    refuse(lane, first, 45)
    lane.resolve(10_000)
    assert lane.take(later_ms, 20_000) is second
    assert lane.succeeded(second, 9, later_ms) == [second]
    assert lane.must_resolve


def test_a_fenced_producer_takes_a_fresh_id() -> None:
    lane = make_lane(1, confirmed=True)
    [item] = take_all(lane)
    refuse(lane, item, 47)
    lane.resolve(0)
    assert lane.wants_identity is Want.FRESH
    assert lane.take(NOW_MS, 10_000) is None
    lane.identity(8, 0)
    assert lane.renumbering == [item]
    assert (item.producer_id, item.sequence) == (8, 0)
    lane.renumbered()
    lane.enqueue(make_item(1))
    lane.succeeded(take_all(lane, 10_000)[0], 0, NOW_MS)
    assert take_all(lane)[0].producer_id == 8


@pytest.mark.parametrize("code", [47, 59])
def test_a_fenced_probe_is_not_asked_again(code: int) -> None:
    lane = make_lane(2, confirmed=True)
    head, witness = take_all(lane)
    for item in (head, witness):
        refuse(lane, item, LOST)
    assert lane.resolve(0) == []
    assert take_all(lane, 10_000) == [head]
    refuse(lane, head, 45, 10_000)
    assert lane.resolve(10_000) == []
    assert take_all(lane, 10_000) == [witness]
    refuse(lane, witness, code, 10_000)
    assert lane.resolve(10_000) == []
    assert lane.wants_identity is Want.FRESH
    lane.identity(9, 0)
    lane.renumbered()
    assert [(item.producer_id, item.sequence, item.risk) for item in lane.window] == [(9, 0, True), (9, 1, True)]
    assert lane.retry_at_ms > 10_000


def test_the_last_epoch_is_followed_by_a_fresh_id() -> None:
    lane = make_lane(2, confirmed=True)
    assert lane.own is not None
    lane.own.epoch = EPOCH_MAX
    first, second = take_all(lane)
    refuse(lane, first, 10)
    refuse(lane, second, 45)
    lane.resolve(0)
    assert lane.wants_identity is Want.FRESH
    lane.identity(8, 0)
    assert [(item.producer_id, item.epoch) for item in lane.renumbering] == [(8, 0)]


def test_recovered_batches_go_first_under_their_numbers_and_new_ones_under_ours() -> None:
    lane = make_lane(1)
    old = [make_item(10 + number) for number in range(2)]
    for number, item in enumerate(old):
        item.numbered(3, 1, 50 + number)
        item.stamped = item.in_doubt = True
    lane.add_run(old, Numbers(3, 1, 52), [])
    assert names(take_all(lane)) == [10]
    lane.succeeded(old[0], 0, NOW_MS)
    assert names(take_all(lane)) == [11]
    lane.succeeded(old[1], 1, NOW_MS)
    [new] = take_all(lane)
    assert (new.producer_id, new.epoch, new.sequence) == (7, 0, 0)


def test_a_denied_topic_fails_what_waits_and_bumps_the_epoch() -> None:
    lane = make_lane(3, confirmed=True)
    first, second = lane.take(NOW_MS, 0), lane.take(NOW_MS, 0)
    assert first is not None
    assert second is not None
    refuse(lane, first, LOST)
    refuse(lane, second, 29, 500)
    assert lane.denied_since_ms == 500
    steps = lane.deny(29)
    assert [(step.item.batch.name, step.reason) for step in steps if isinstance(step, Fail)] == [
        (0, Failed.MAY_HAVE_BEEN_WRITTEN),
        (1, Failed.TOPIC_DENIED),
        (2, Failed.TOPIC_DENIED),
    ]
    assert lane.own is not None
    assert lane.own.epoch == 1
    assert lane.waiting_bytes == 0


def test_only_batches_never_sent_expire() -> None:
    lane = make_lane(8, confirmed=True)
    take_all(lane)
    steps = lane.expire(1000, 1000)
    assert names([step.item for step in steps if isinstance(step, Fail)]) == [5, 6, 7]
    assert len(lane.window) == 5


def test_without_idempotence_a_repeat_is_a_possible_duplicate() -> None:
    lane = make_lane(2, idempotent=False)
    [first] = take_all(lane)
    assert (first.producer_id, first.epoch, first.sequence) == (-1, -1, -1)
    refuse(lane, first, LOST)
    lane.resolve(0)
    assert take_all(lane, 10_000) == [first]
    assert first.risk
    lane.succeeded(first, 0, NOW_MS)
    [second] = take_all(lane)
    refuse(lane, second, 10)
    [step] = lane.resolve(0)
    assert isinstance(step, Fail)


def test_an_offset_below_an_acknowledged_one_is_noticed() -> None:
    lane = make_lane(2, confirmed=True)
    first, second = take_all(lane)
    lane.succeeded(first, 100, NOW_MS)
    lane.succeeded(second, 7, NOW_MS)
    assert lane.regressions == [
        "producer id 7 epoch 0 sequences 1..1 acknowledged at offset 7, after offset 100 before"
    ]


# -- the lane against the table, under random faults


@pytest.mark.parametrize("seed", range(150))
def test_exactly_once_and_in_order_under_random_faults(seed: int) -> None:
    world = World(seed, 120)
    world.run()
    assert world.written == list(range(world.records))
    assert world.delivered == world.written
    assert (world.failed, world.suspicions, world.risky) == ([], 0, set())


@pytest.mark.parametrize("seed", range(100))
def test_refused_batches_fail_and_leave_no_gap(seed: int) -> None:
    world = World(seed, 120, refusals=True)
    world.run()
    assert world.written == world.good
    assert world.delivered == world.good
    assert world.failed == world.refused
    assert world.suspicions == 0


@pytest.mark.parametrize("limit", [1, 2, 5])
@pytest.mark.parametrize("seed", range(40))
def test_batches_that_are_too_large_are_split_until_they_fit(seed: int, limit: int) -> None:
    world = World(seed, 80, limits=(limit,))
    world.run()
    assert world.written == list(range(world.records))
    assert world.delivered == world.written
    assert (world.failed, world.suspicions) == ([], 0)
    assert world.splits > 20


@pytest.mark.parametrize("seed", range(150))
def test_a_limit_that_changes_loses_nothing_and_hides_no_duplicate(seed: int) -> None:
    world = World(seed, 80, limits=(1, 3, 7), forgetful=seed % 3 == 0, refusals=seed % 2 == 0)
    world.run()
    world.judge()
    assert world.splits


def test_a_limit_that_changes_makes_no_duplicate_while_batches_come() -> None:
    """But where a quarter of all requests is lost or refused, and half a minute of asking in vain is over."""
    at_risk = 0
    for seed in range(150):
        world = World(seed, 80, limits=(1, 3, 7), endless=True)
        world.run()
        world.judge()
        assert (world.failed, world.suspicions) == ([], 0)
        assert world.splits
        at_risk += bool(world.risky)
        assert world.risky or world.written == list(range(world.records))
    assert at_risk <= 5


@pytest.mark.parametrize("seed", range(200))
def test_batches_that_expire_in_flight_hold_the_others_back_and_leave_no_gap(seed: int) -> None:
    world = World(seed, 120, timeout_ms=(4000, 20_000)[seed % 2], refusals=seed % 3 == 0)
    world.run()
    world.judge()
    assert world.maybe or seed % 2
    assert world.suspicions == 0
    # order is kept whatever was given up
    assert world.written == sorted(world.written)


@pytest.mark.parametrize("idempotent", [True, False])
@pytest.mark.parametrize("behind", [0, 3])
def test_a_batch_whose_repair_is_abandoned_fails_and_leaves_no_gap(behind: int, idempotent: bool) -> None:
    lane = make_lane(1 + behind, confirmed=True, idempotent=idempotent, records=4)
    head, *others = take_all(lane)
    lane.failed(head, 87, 0, ((1, "no key"), (3, "")))
    for item in others:
        refuse(lane, item, 45)
    [step] = lane.resolve(0)
    assert isinstance(step, Repair)
    fail = lane.abandon(step)
    assert fail == Fail(head, Failed.RECORD_REFUSED, 87, False, "no key; ")
    assert (head.record_count, head.errors) == (4, ((1, "no key"), (3, "")))
    assert head not in lane.window
    assert lane.waiting_bytes == 100 * behind
    assert names(lane.renumbering) == (names(others) if idempotent else [])
    lane.renumbered()
    new = make_item(9)
    lane.enqueue(new)
    sent = []
    while lane.has_work:
        sent += take_all(lane, lane.retry_at_ms)
        lane.succeeded(lane.window[0], len(sent), NOW_MS)
    assert names(dict.fromkeys(sent)) == [*range(1, behind + 1), 9]
    if idempotent:
        assert [item.sequence for item in (*others, new)] == [4 * number for number in range(behind + 1)]
        assert len({item.epoch for item in (*others, new)}) == 1
        assert new.epoch > 0
