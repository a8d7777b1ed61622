"""What the adaptive choice is told of the queues."""

from types import SimpleNamespace
from typing import Any

from ingestd.producer.loads import LEFT_OUT, queue_lengths
from ingestd.producer.network.cluster import NO_LEADER, Topic

NOW = 100_000


def broker(drained_tick_ms: int = NOW) -> Any:
    class Broker:
        """Hashable by identity, as the real one."""

    found: Any = Broker()
    found.drained_tick_ms = drained_tick_ms
    return found


def lane(route: Any, waiting: int = 0, window: tuple[bool, ...] = (), since_ms: int = NOW) -> Any:
    """``window``: one per batch with numbers, True: in flight."""
    return SimpleNamespace(
        route=route,
        queue=[SimpleNamespace(sealed_tick_ms=since_ms)] * waiting,
        window=[SimpleNamespace(flying=flying, sealed_tick_ms=since_ms) for flying in window],
        flying=sum(window),
    )


def lengths(*lanes: Any, timeout_ms: int = 0) -> list[int] | None:
    topic = Topic("t")
    topic.leaders = [(NO_LEADER, -1)] * len(lanes)
    known: Any = {("t", partition): one for partition, one in enumerate(lanes) if one is not None}
    found = queue_lengths(known, topic, timeout_ms, NOW)
    return None if found is None else list(found)


def test_batches_that_wait_and_not_those_in_flight() -> None:
    one = broker()
    assert lengths(lane(one, 3), lane(one, 1, (True, True)), lane(one, 2, (False, False))) == [3, 1, 4]


def test_no_lengths_before_every_partition_has_had_a_batch() -> None:
    assert lengths(lane(broker(), 3), None) is None


def test_a_partition_without_leader_is_left_out() -> None:
    assert lengths(lane(broker(), 3), lane(None, 9)) == [3, LEFT_OUT]


def test_a_broker_that_takes_nothing_is_left_out_with_all_its_partitions() -> None:
    stuck, well = broker(NOW - 501), broker(NOW - 10)
    lanes = [lane(stuck, 2, (True,), NOW - 600), lane(stuck), lane(well, 1, (), NOW - 600)]
    assert lengths(*lanes, timeout_ms=500) == [LEFT_OUT, LEFT_OUT, 1]
    assert lengths(*lanes, timeout_ms=0) == [2, 0, 1]
    assert lengths(*lanes, timeout_ms=5000) == [2, 0, 1]


def test_a_broker_that_had_nothing_to_take_is_well() -> None:
    idle = broker(NOW - 10_000)
    assert lengths(lane(idle, 1, (), NOW - 3), lane(idle), timeout_ms=500) == [1, 0]
    assert lengths(lane(idle, 0, (True,), NOW - 900), lane(idle), timeout_ms=500) == [0, 0]


def test_what_waits_to_be_sent_again_counts_as_waiting() -> None:
    gone = broker(NOW - 10_000)
    assert lengths(lane(gone, 0, (False,), NOW - 900), timeout_ms=500) == [LEFT_OUT]
