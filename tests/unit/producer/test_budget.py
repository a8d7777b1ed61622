"""Who is held back once the arena runs short."""

from types import SimpleNamespace
from typing import Any

from ingestd.producer.budget import STUCK_MS, Budget
from ingestd.producer.delivery import Lane
from ingestd.producer.item import Item

NOW = 100_000


def make(*, ready: bool = True, waited_ms: int = 0, size_bytes: int = 10) -> Lane:
    lane = Lane("t", 0, lambda _: 0)
    lane.route = SimpleNamespace(is_ready=ready)
    batch: Any = SimpleNamespace(record_count=1, size_bytes=size_bytes, max_timestamp_ms=0)
    lane.enqueue(Item(None, batch, NOW - waited_ms))
    return lane


def test_only_sick_partitions_are_held_and_only_when_short() -> None:
    healthy, away, stuck = make(), make(ready=False), make(waited_ms=STUCK_MS)
    lanes = [healthy, away, stuck]
    budget = Budget(1000)
    assert budget.review(lanes, 0.75, True, NOW) == ([], [])
    assert budget.review(lanes, 0.8, True, NOW) == ([away, stuck], [])
    assert budget.review(lanes, 0.9, True, NOW) == ([], [])


def test_one_partition_does_not_take_more_than_half() -> None:
    greedy = make(size_bytes=501)
    assert Budget(1000).review([greedy], 0.8, True, NOW) == ([greedy], [])


def test_with_kafka_away_as_a_whole_nobody_is_held() -> None:
    away = make(ready=False)
    budget = Budget(1000)
    budget.review([away], 0.9, True, NOW)
    assert budget.review([away], 0.95, False, NOW) == ([], [away])


def test_who_recovers_or_is_relieved_is_released() -> None:
    away, other = make(ready=False), make(ready=False)
    budget = Budget(1000)
    budget.review([away, other], 0.9, True, NOW)
    away.route.is_ready = True
    assert budget.review([away, other], 0.9, True, NOW) == ([], [away])
    assert budget.review([away, other], 0.6, True, NOW) == ([], [other])
