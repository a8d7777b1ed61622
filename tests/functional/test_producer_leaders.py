"""Partitions that change their leader: what a hint of the old one is worth, and what never passes what."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest
import uvloop

from tests.fakes.broker import METADATA, PRODUCE, FakeCluster
from tests.functional.producer_rig import Rig, lines_of, running

NOT_LEADER = 6
SLOW_BACKOFF: dict[str, Any] = {"retry_backoff_ms": 700, "retry_backoff_max_ms": 700}
NO_RETRY: dict[str, Any] = {"retry_backoff_ms": 20_000, "retry_backoff_max_ms": 20_000}
"""What waits for the backoff is not there within AT_ONCE_S, what does not is so on any host."""
AT_ONCE_S = 10


def run(scenario: Coroutine[Any, Any, None]) -> None:
    uvloop.run(scenario)


async def until_sent_again(rig: Rig) -> float:
    began = time.monotonic()
    await rig.idle()
    return time.monotonic() - began


def hinted(epoch: int, leader: int = 2, endpoints_of: tuple[int, ...] = (2,)) -> Any:
    """A control: NOT_LEADER_OR_FOLLOWER that names ``leader`` under ``epoch``."""

    def control(request: Any) -> bytes:
        body: bytes = request.broker.produce(
            request, NOT_LEADER, append=False, hint=(leader, epoch), endpoints_of=endpoints_of
        )
        return body

    return control


def test_a_usable_hint_is_followed_at_once_without_asking_for_metadata() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(nodes=2, topics={"t": 1})
        async with running(cluster, **NO_RETRY) as rig:
            rig.send(b"a")
            await rig.idle()
            asked = sum(broker.requests[METADATA] for broker in cluster.brokers.values())
            numbers = (cluster.log("t").batches[-1].producer_id, cluster.log("t").batches[-1].epoch)
            cluster.move("t", 0, 2)
            rig.send(b"b")
            assert await until_sent_again(rig) < AT_ONCE_S
            assert lines_of(cluster.log("t")) == [b"a", b"b"]
            last = cluster.log("t").batches[-1]
            assert ((last.producer_id, last.epoch), last.sequence) == (numbers, 1)
            assert sum(broker.requests[METADATA] for broker in cluster.brokers.values()) == asked

    run(scenario())


@pytest.mark.parametrize(
    "hint", [hinted(0), hinted(9, leader=5, endpoints_of=())], ids=["an epoch that is known", "a node nobody knows"]
)
def test_a_hint_of_no_use_is_retried_after_the_backoff(hint: Any) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(nodes=2, topics={"t": 1})
        async with running(cluster, **SLOW_BACKOFF) as rig:
            rig.send(b"a")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, hint)
            rig.send(b"b")
            assert await until_sent_again(rig) >= 0.65
            assert lines_of(cluster.log("t")) == [b"a", b"b"]
            assert cluster.brokers[2].requests[PRODUCE] == 0

    run(scenario())


def test_a_hinted_node_that_metadata_did_not_name_is_reached_at_its_endpoint() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(nodes=2, topics={"t": 1})
        fresh = cluster.brokers[2]
        async with running(cluster, **NO_RETRY) as rig:
            del cluster.brokers[2]
            rig.producer._brokers.refresh()
            rig.send(b"a")
            await rig.idle()
            await rig.until(lambda: 2 not in rig.producer._brokers.by_node)
            cluster.brokers[2] = fresh
            cluster.move("t", 0, 2)
            rig.send(b"b")
            assert await until_sent_again(rig) < AT_ONCE_S
            assert lines_of(cluster.log("t")) == [b"a", b"b"]

    run(scenario())


@pytest.mark.parametrize("answers", ["late", "never"])
def test_nothing_goes_to_a_new_leader_before_the_old_one_has_let_go_of_what_came_before(answers: str) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(nodes=2, topics={"t": 1})
        async with running(cluster, request_timeout_ms=600, metadata_max_age_ms=50) as rig:
            rig.send(b"0")
            await rig.idle()
            old, new = cluster.brokers[1], cluster.brokers[2]
            old.delay_s = 0.3 if answers == "late" else 30
            for number in range(1, 9):
                rig.send(b"%d" % number)
            lane = rig.producer._accumulator.lanes["t", 0]
            await rig.until(lambda: lane.flying == 5)
            flying_at_arrival: list[int] = []
            new.control(PRODUCE, lambda _: flying_at_arrival.append(lane.flying), times=50)
            cluster.move("t", 0, 2)
            await rig.until(lambda: lane.route is not None and lane.route.node == 2)
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"%d" % number for number in range(9)]
            assert flying_at_arrival[0] == 1, "the first at the new leader flies alone: nothing is out at the old one"
            assert rig.arena.ledger()["possible_duplicates"] == 0
            await asyncio.sleep(0)

    run(scenario())
