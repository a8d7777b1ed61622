"""A real worker whose arena has no room left: who is woken when pages come back, and what goes out first."""

import asyncio
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from ingestd.limits import TOPICS_MAX
from tests.fakes.broker import FakeCluster
from tests.functional.producer_rig import lines_of
from tests.kafka.daemon import Daemon, Setting

TOPICS = [f"t{number}" for number in range(8)]


def lines(topic: str) -> dict[str, Setting]:
    return {"name": topic, "listen": f"unix-stream:{{sockets}}/{topic}", "format": "lines", "topic": topic}


def send(daemon: Daemon, topic: str, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(f"{daemon.sockets}/{topic}")
        peer.sendall(data)


def test_pages_that_compression_gives_back_are_used_while_kafka_is_away(tmp_path: Path) -> None:
    daemon = Daemon(
        tmp_path,
        "127.0.0.1:9",
        [lines(topic) for topic in TOPICS],
        topics={topic: {"partitions": 1} for topic in TOPICS},
        workers=1,
        producer={"buffer.memory": 4 << 20, "compression.type": "zstd", "linger.ms": 50},
        settings={"stop.timeout.ms": 300},
    )
    try:
        daemon.start()
        # Each batch opened takes all that its one record needs: three of them fill the arena until they are sealed.
        for topic in TOPICS:
            send(daemon, topic, b"0" * 1_000_000 + b"\n")
        daemon.wait_for(lambda: daemon.ledger()["accepted"] == len(TOPICS), 5, "all accepted")
        assert daemon.stop() == 0
    finally:
        daemon.close()


def test_an_arena_of_another_size_is_emptied_before_what_came_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        await cluster.start()
        await cluster.stop()
        daemon = Daemon(tmp_path, cluster.bootstrap[0], [lines("t")], topics={"t": {"partitions": 1}}, workers=1)
        try:
            for number, size in enumerate((16 << 20, 8 << 20, 4 << 20)):
                daemon.configure(workers=1, producer={"buffer.memory": size}, settings={"stop.timeout.ms": 100})
                await asyncio.to_thread(fill, daemon, number)
            await cluster.start()
            expected = [b"%d" % number for number in range(3)]
            deadline = time.monotonic() + 10
            while len(lines_of(cluster.log("t"))) < 3:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            assert lines_of(cluster.log("t")) == expected
            assert await asyncio.to_thread(daemon.stop) == 0
        finally:
            daemon.close()
            await cluster.stop()

    def fill(daemon: Daemon, number: int) -> None:
        if number:
            daemon.stop()
        daemon.start()
        send(daemon, "t", b"%d\n" % number)
        daemon.wait_for(lambda: daemon.ledger()["buffered"] == number + 1, 10, "all accepted")

    asyncio.run(scenario())


def test_as_many_topics_as_there_may_be_are_replaced_by_others(tmp_path: Path) -> None:
    """The arena never gives a row of its topic table back: it is drained, and another one takes its place."""
    listeners: dict[str, list[Mapping[str, Setting]]] = {
        word: [
            lines(f"{word}0"),
            {
                "name": "frames",
                "listen": "unix-stream:{sockets}/frames",
                "format": "frames",
                "topics": [f"{word}{number}" for number in range(1, TOPICS_MAX)],
            },
        ]
        for word in ("old", "new")
    }

    async def scenario() -> None:
        cluster = FakeCluster(topics={"old0": 1, "new0": 1})
        await cluster.start()
        await cluster.stop()
        daemons = []
        try:
            for number, word in enumerate(listeners):
                daemons.append(
                    Daemon(
                        tmp_path,
                        cluster.bootstrap[0],
                        listeners[word],
                        topics={f"{word}0": {"partitions": 1}},
                        workers=1,
                        settings={"stop.timeout.ms": 100},
                    )
                )
                await asyncio.to_thread(fill, daemons, number, f"{word}0")
            await cluster.start()
            deadline = time.monotonic() + 10
            while not (lines_of(cluster.log("old0")) and lines_of(cluster.log("new0"))):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            drained = daemons[1].state_directory / "worker-0.drain-1.arena"
            await asyncio.to_thread(daemons[1].wait_for, lambda: not drained.exists(), 5, "the drained one removed")
            assert await asyncio.to_thread(daemons[1].stop) == 0
        finally:
            for daemon in daemons:
                daemon.close()
            await cluster.stop()

    def fill(daemons: list[Daemon], number: int, topic: str) -> None:
        if number:
            daemons[0].stop()
        daemon = daemons[number]
        daemon.start()
        send(daemon, topic, b"x\n")
        daemon.wait_for(lambda: daemon.ledger()["buffered"] == number + 1, 10, "all accepted")

    asyncio.run(scenario())
