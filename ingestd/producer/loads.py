"""How long the queues of a topic's partitions are: what the adaptive choice of KIP-794 weighs. Pure.

As in Kafka's RecordAccumulator.partitionReady: batches that wait, sent ones not counted; no lengths before every
partition has had a batch; left out are partitions without a leader, and those of a broker that has taken nothing for
longer than partitioner.availability.timeout.ms although something waited for it.
"""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.network.cluster import Topic

LEFT_OUT: Final = -1


def queue_lengths(
    lanes: Mapping[tuple[str, int], Lane], topic: Topic, timeout_ms: int, tick_ms: int
) -> "array[int] | None":
    """One number per partition, LEFT_OUT among them; None: some partition has had no batch yet. ``timeout_ms`` 0: slow
    brokers are not left out."""
    name = topic.name
    mine = [lanes.get((name, partition)) for partition in range(len(topic.leaders))]
    known = [lane for lane in mine if lane is not None]
    if len(known) < len(mine):
        return None
    stuck = _stuck(known, timeout_ms, tick_ms) if timeout_ms else frozenset()
    return array(
        "i",
        [
            LEFT_OUT if lane.route is None or lane.route in stuck else len(lane.queue) + len(lane.window) - lane.flying
            for lane in known
        ],
    )


def _stuck(lanes: Sequence[Lane], timeout_ms: int, tick_ms: int) -> set[Any]:
    """Brokers that have been given nothing for ``timeout_ms``, and something has waited for them as long."""
    before_ms = tick_ms - timeout_ms
    return {
        lane.route
        for lane in lanes
        if lane.route is not None and lane.route.drained_tick_ms < before_ms and _waits_since(lane) < before_ms
    }


def _waits_since(lane: Lane) -> int:
    """When the oldest batch that could go out was sealed; the far future: there is none."""
    if lane.window and not lane.window[0].flying:
        return lane.window[0].sealed_tick_ms
    return lane.queue[0].sealed_tick_ms if lane.queue else 1 << 62
