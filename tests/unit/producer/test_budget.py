"""Who is held back once a share of the arena outgrows what is free."""

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ingestd.producer.budget import RELAXED_LEVEL, Budget, room_bytes
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import Item

BUFFER_BYTES = 1_000_000


class StandIn:
    """A broker as far as budgets look at it."""

    def __init__(self, ready: bool) -> None:
        self.is_ready = ready


def broker(*, ready: bool = True) -> StandIn:
    return StandIn(ready)


def make(route: Any, size_bytes: int = 0, topic: str = "t") -> Lane:
    """A partition with one batch of so many bytes, room for its pages left out; 0: none."""
    lane = Lane(topic, 0, lambda _: 0)
    lane.route = route
    if size_bytes:
        batch: Any = SimpleNamespace(record_count=1, size_bytes=size_bytes - 4096, max_timestamp_ms=0)
        lane.enqueue(Item(None, batch, 0))
        assert room_bytes(lane) == size_bytes
    return lane


def review(budget: Budget, *lanes: Lane) -> tuple[list[Lane], list[Lane]]:
    return budget.review(lanes, sum(map(room_bytes, lanes)) / BUFFER_BYTES)


def test_a_broker_ends_at_what_is_free_when_another_can_use_it() -> None:
    dead, well = broker(ready=False), broker()
    lanes = [make(dead, 255_000), make(dead, 255_000, "u"), make(well, topic="v")]
    assert review(Budget(BUFFER_BYTES), *lanes) == (lanes[:2], [])
    smaller = [make(dead, 245_000), make(dead, 245_000, "u"), make(well, topic="v")]
    assert review(Budget(BUFFER_BYTES), *smaller) == ([], [])


def test_two_of_three_brokers_end_at_a_third_each() -> None:
    lanes = [make(broker(), 340_000), make(broker(), 340_000, "u"), make(broker(), topic="v")]
    assert review(Budget(BUFFER_BYTES), *lanes) == (lanes[:2], [])


def test_a_partition_without_a_leader_is_held_like_one_of_a_dead_broker() -> None:
    lost, well = make(None, 510_000), make(broker())
    assert review(Budget(BUFFER_BYTES), lost, well) == ([lost], [])


def test_with_kafka_away_as_a_whole_all_of_the_arena_is_used() -> None:
    lanes = [make(broker(ready=False), 480_000), make(broker(ready=False), 480_000, "u")]
    assert review(Budget(BUFFER_BYTES), *lanes) == ([], [])


def test_with_kafka_busy_as_a_whole_all_of_the_arena_is_used() -> None:
    lanes = [make(broker(), 320_000, topic) for topic in "tuv"]
    assert review(Budget(BUFFER_BYTES), *lanes) == ([], [])


def test_alone_a_topic_takes_all_of_it() -> None:
    only = broker()
    assert review(Budget(BUFFER_BYTES), make(only, 960_000)) == ([], [])


def test_a_flooding_topic_leaves_room_for_another_one_of_the_same_broker() -> None:
    only = broker()
    flood = [make(only, 130_000) for _ in range(4)]
    trickle = make(only, topic="u")
    assert review(Budget(BUFFER_BYTES), *flood, trickle) == (flood, [])


def test_one_partition_leaves_room_for_another_one_of_the_same_topic() -> None:
    only = broker()
    hot, cold = make(only, 510_000), make(only)
    assert review(Budget(BUFFER_BYTES), hot, cold) == ([hot], [])


def test_in_a_full_arena_a_hanging_broker_ends_at_its_part() -> None:
    hangs, others = make(broker(), 350_000), [make(broker(), 330_000, "u"), make(broker(), 320_000, "v")]
    assert review(Budget(BUFFER_BYTES), hangs, *others) == ([hangs], [])


def test_one_of_many_partitions_has_room_for_batches_of_a_useful_size() -> None:
    only = broker()
    lanes = [make(only, 110_000), *(make(only, 45_000) for _ in range(19))]
    assert review(Budget(BUFFER_BYTES), *lanes) == ([], [])


def test_who_has_drained_below_the_bound_is_released_and_stays_so() -> None:
    dead, well = broker(ready=False), make(broker())
    budget = Budget(BUFFER_BYTES)
    full, less, little = (make(dead, size) for size in (600_000, 460_000, 430_000))
    assert review(budget, full, well)[0] == [full]
    budget.held = {less}
    assert review(budget, less, well) == ([], [])
    budget.held = {little}
    assert review(budget, little, well) == ([], [little])
    assert review(budget, little, well) == ([], [])


def test_a_relaxed_arena_releases_everybody() -> None:
    lane = make(broker(ready=False), 10_000)
    budget = Budget(BUFFER_BYTES)
    budget.held = {lane}
    assert budget.review([lane], RELAXED_LEVEL - 0.01) == ([], [lane])


@given(
    sizes=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 200)), min_size=1, max_size=12),
    ready=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_a_healthy_share_within_its_bound_always_has_room_in_the_end(
    sizes: list[tuple[int, int, int]], ready: list[bool]
) -> None:
    """Whoever may still open batches is either small or nobody small could use the room."""
    brokers = [broker(ready=one) for one in ready]
    lanes = [make(brokers[at], 5000 * size, f"t{topic}") for at, topic, size in sizes]
    total = sum(map(room_bytes, lanes))
    buffer_bytes = max(total, 1) * 2
    budget = Budget(buffer_bytes)
    level = total / buffer_bytes
    held, _ = budget.review(lanes, level)
    bound_bytes = max(buffer_bytes - total, buffer_bytes / len({id(lane.route) for lane in lanes}))
    used: dict[Any, int] = {}
    for lane in lanes:
        used[id(lane.route)] = used.get(id(lane.route), 0) + room_bytes(lane)
    for lane in lanes:
        small_and_ready = any(
            one.is_ready and id(one) in used and used[id(one)] <= bound_bytes
            for one in brokers
            if one is not lane.route
        )
        if used[id(lane.route)] > bound_bytes and small_and_ready and level >= RELAXED_LEVEL:
            assert lane in held
