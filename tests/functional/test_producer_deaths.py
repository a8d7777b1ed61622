"""Deaths between any two numbers and behind any split, on a real arena and over real TCP, while batches are too large,
answers are lost and brokers restart: the successor opens the file as it was at that moment.
"""

import asyncio
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import uvloop

from ingestd.hotpath.arena import Arena
from ingestd.hotpath.splitting import split
from ingestd.producer import outcomes, sender
from ingestd.producer.lanes.item import Item
from ingestd.producer.outcomes import write_numbers
from tests.fakes.broker import PRODUCE, FakeCluster
from tests.functional.producer_rig import Rig, clock, lines_of
from tests.functional.test_producer_random import FAULTS

ROUNDS = 120
LIMITS = (700, 3000, 1 << 20)
CHANGES: dict[str, Any] = {"request_timeout_ms": 100, "batch_size": 4000, "buffer_memory": 16 << 20}


class Lives:
    """One process after the other on copies of one arena. ``died``: the next one's; None: this one lives."""

    def __init__(self, cluster: FakeCluster, directory: Path, random: Random) -> None:
        self.random = random
        self.cluster = cluster
        self.path = directory / "arena"
        self.died: Path | None = None
        self.deaths = 0
        self.rig = Rig(cluster.bootstrap, path=self.path, **CHANGES)

    def perhaps_die(self, chance: float) -> None:
        if self.died is None and self.random.random() < chance:
            self.deaths += 1
            self.died = self.path.with_name(f"arena-{self.deaths}")
            shutil.copyfile(self.path, self.died)
            self.rig.producer._sender.stop()

    async def live_on(self) -> None:
        if self.died is None:
            return
        await self.rig.close()
        self.path, self.died = self.died, None
        arena = Arena.open(self.path, now_ms=clock()[0])
        self.rig = Rig(self.cluster.bootstrap, arena=arena, **CHANGES)

    def split(self, *arguments: Any) -> Any:
        halves = split(*arguments)
        self.perhaps_die(0.3)
        return halves

    def write_numbers(self, items: Sequence[Item], now_ms: int) -> bool:
        """One by one."""
        if any(item.arena.view_count(item.batch.entry) for item in items):
            return False
        for item in items:
            self.perhaps_die(0.1)
            assert write_numbers([item], now_ms)
        return True


async def disturb(cluster: FakeCluster, random: Random) -> None:
    (partition,) = cluster.topics["t"].partitions
    while True:
        await asyncio.sleep(random.uniform(0.005, 0.05))
        choice = random.random()
        if choice < 0.45:
            cluster.brokers[1].control(PRODUCE, random.choice(FAULTS), times=random.choice((1, 1, 3)))
        elif choice < 0.65:
            cluster.brokers[1].cut()
        elif choice < 0.75:
            partition.log.restart()
        else:
            partition.batch_bytes_max = random.choice(LIMITS)


async def load(lives: Lives, random: Random) -> int:
    """Returns how many records were sent."""
    sent = 0
    for _ in range(ROUNDS):
        await lives.live_on()
        rows = [b"%06d%s" % (sent + row, b" more" * random.choice((0, 9, 60))) for row in range(random.choice((1, 20)))]
        sent += len(rows)
        lives.rig.send(*rows)
        lives.perhaps_die(0.05)
        await asyncio.sleep(random.choice((0, 0, 0.002, 0.02)))
    return sent


async def end(lives: Lives) -> None:
    """Kafka is well again; everything goes out, whoever dies."""
    broker = lives.cluster.brokers[1]
    broker.clear_controls()
    lives.cluster.topics["t"].partitions[0].batch_bytes_max = LIMITS[-1]
    await broker.stop()
    await broker.start()
    while True:
        await lives.live_on()
        await lives.rig.until(lambda: lives.died or (lives.rig.producer.nodes and lives.rig.producer.idle), 20)
        if lives.died is None:
            return


@pytest.mark.parametrize("seed", range(4))
def test_deaths_at_any_store_lose_nothing_and_hide_no_duplicate(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        random = Random(seed)
        async with FakeCluster(topics={"t": 1}) as cluster:
            lives = Lives(cluster, tmp_path, random)
            monkeypatch.setattr(outcomes, "split", lives.split)
            monkeypatch.setattr(sender, "write_numbers", lives.write_numbers)
            trouble = asyncio.create_task(disturb(cluster, random))
            sent = await load(lives, random)
            trouble.cancel()
            await asyncio.gather(trouble, return_exceptions=True)
            await end(lives)
            log = Counter(int(line[:6]) for line in lines_of(cluster.log("t")))
            assert sorted(log) == list(range(sent))
            ledger = lives.rig.arena.ledger()
            assert ledger["accepted"] == ledger["delivered"] == sent
            assert sum(log.values()) - sent <= ledger["possible_duplicates"]
            assert lives.deaths > 3
            await lives.rig.close()

    uvloop.run(scenario())
