"""Random faults over real TCP: lost answers, cuts, restarts that shrink memory, leader changes, refusals for a time.

The fake broker's log is the judge: everything once and in order, whatever happened. The seed names the run.
"""

import asyncio
from random import Random
from typing import Any

import pytest
import uvloop

from ingestd.figures import Count
from tests.fakes.broker import CLOSE, NOTHING, PRODUCE, SILENCE, FakeBroker, FakeCluster, Request, error
from tests.functional.producer_rig import Rig, lines_of, running

BATCHES = 150


def taken_and_closed(request: Request) -> Any:
    request.handle()
    return CLOSE


def taken_and_silent(request: Request) -> Any:
    request.handle()
    return SILENCE


FAULTS = [
    lambda _: CLOSE,
    taken_and_closed,
    taken_and_silent,
    lambda _: SILENCE,
    lambda _: NOTHING,
    error(19),
    error(20, append=True),
    error(7, append=True),
    error(6),
    error(56),
]


async def disturb(cluster: FakeCluster, random: Random, partitions: int) -> None:
    while True:
        await asyncio.sleep(random.uniform(0.005, 0.06))
        broker: FakeBroker = random.choice(list(cluster.brokers.values()))
        choice = random.random()
        if choice < 0.55:
            broker.control(PRODUCE, random.choice(FAULTS), times=random.choice((1, 1, 3)))
        elif choice < 0.7:
            broker.cut()
        elif choice < 0.8:
            partition = random.randrange(partitions)
            cluster.move("t", partition, random.choice(list(cluster.brokers)))
        elif choice < 0.9:
            for row in cluster.topics["t"].partitions:
                row.log.restart()
        else:
            await broker.stop()
            await asyncio.sleep(random.uniform(0, 0.1))
            for row in cluster.topics["t"].partitions:
                row.log.restart()
            await broker.start()


async def load(rig: Rig, random: Random) -> None:
    for number in range(BATCHES):
        rig.send(b"%d" % number)
        await asyncio.sleep(random.choice((0, 0, 0.002, 0.02)))


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_random_faults_neither_lose_nor_repeat_nor_reorder(seed: int, nodes: int) -> None:
    async def scenario() -> None:
        random = Random(seed)
        cluster = FakeCluster(nodes=nodes, topics={"t": nodes})
        changes: dict[str, Any] = {"request_timeout_ms": 100, "partitions": nodes, "batch_size": 4}
        async with running(cluster, **changes) as rig:
            trouble = asyncio.create_task(disturb(cluster, random, nodes))
            await load(rig, random)
            trouble.cancel()
            await asyncio.gather(trouble, return_exceptions=True)
            for broker in cluster.brokers.values():
                broker.clear_controls()
                await broker.stop()
                await broker.start()
            await rig.idle(20)
            logs = [lines_of(cluster.log("t", partition)) for partition in range(nodes)]
            assert sorted(int(line) for log in logs for line in log) == list(range(BATCHES))
            assert all(log == sorted(log, key=int) for log in logs)
            ledger = rig.arena.ledger()
            assert (ledger["delivered"], ledger["possible_duplicates"]) == (BATCHES, 0)
            assert rig.producer.meter.figures.counts[Count.DATA_LOSS_SUSPECTED] == 0

    uvloop.run(scenario())
