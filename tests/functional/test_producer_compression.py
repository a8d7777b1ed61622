"""Compression beside the event loop: order, nothing lost at an end or a death, a loop that goes on; and who is told."""

import asyncio
import json
import shutil
import time
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest
import uvloop

from ingestd.hotpath.arena import Arena, BatchState
from ingestd.metrics import Failed
from ingestd.producer import compressor
from ingestd.producer.compression import CODECS, ZSTD
from tests.fakes.broker import PRODUCE, FakeCluster, error
from tests.functional.producer_rig import Rig, clock, lines_of, running


def run(scenario: Coroutine[Any, Any, None]) -> None:
    uvloop.run(scenario)


def busy(rig: Rig) -> bool:
    """Some batch is being compressed, or waits for that."""
    return rig.producer._compressor.busy


def has_threads(rig: Rig) -> bool:
    return rig.producer._compressor._executor is not None


def text(number: int, size: int) -> bytes:
    """A line that shrinks, slowly enough with a high level to be a thread's work."""
    random = Random(number)
    words = [b"%06x" % random.getrandbits(20) for _ in range(64)]
    return (b"%06d " % number + b" ".join(random.choices(words, k=size // 7 + 1)))[:size]


@pytest.mark.parametrize(("codec", "level"), [("gzip", 9), ("snappy", 0), ("lz4", 12), ("zstd", 19)])
def test_order_is_kept_whatever_takes_how_long(codec: str, level: int, seed: int) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        levels = {f"compression_{codec}_level": level} if level else {}
        async with running(cluster, compression_type=codec, **levels) as rig:
            random = Random(seed)
            sent = [text(number, random.choice((2_000, 5_000, 30_000, 100_000))) for number in range(40)]
            for line in sent:
                rig.send(line)
                await asyncio.sleep(0)
            await rig.idle(30)
            assert lines_of(cluster.log("t"), CODECS[codec]) == sent
            assert rig.arena.ledger()["delivered"] == len(sent)

    run(scenario())


def test_the_event_loop_goes_on_while_a_batch_is_compressed() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, compression_type="zstd", compression_zstd_level=22) as rig:
            before_s = time.thread_time()
            rig.send(text(1, 120_000))
            assert time.thread_time() - before_s < 0.1
            assert busy(rig)
            turns = 0
            while busy(rig):
                await asyncio.sleep(0.001)
                turns += 1
            assert turns > 3, "one compression takes tens of milliseconds"
            await rig.idle()
            assert lines_of(cluster.log("t"), CODECS["zstd"]) == [text(1, 120_000)]

    run(scenario())


def test_what_is_not_compressed_yet_at_the_end_stays_in_the_arena(tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        path = tmp_path / "worker.arena"
        sent = [text(number, 120_000) for number in range(6)]
        async with running(cluster, path=path, compression_type="zstd", compression_zstd_level=22) as rig:
            for line in sent:
                rig.send(line)
            assert busy(rig)
            copy = tmp_path / "death.arena"
            shutil.copy(path, copy)
        # the arena was closed: no thread holds a view any more
        for file in (path, copy):
            with_left = Arena.open(file, now_ms=clock()[0])
            assert {batch.state for batch in with_left.recovered()} == {BatchState.SEALED}
            assert (with_left.buffered(), with_left.damage) == (6, [])
            with_left.close()
        await cluster.start()
        rig = Rig(cluster.bootstrap, arena=Arena.open(path, now_ms=clock()[0]), compression_type="zstd")
        await rig.idle()
        assert lines_of(cluster.log("t"), ZSTD) == sent
        await rig.close()
        await cluster.stop()

    run(scenario())


def test_closing_with_time_waits_for_what_is_being_compressed() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, compression_type="zstd", compression_zstd_level=19) as rig:
            rig.send(b"first")
            await rig.idle()
            for number in range(4):
                rig.send(text(number, 120_000))
            assert busy(rig)
            assert not rig.producer.drained(rig.arena)
            assert await rig.producer.close(20_000)
            assert rig.arena.ledger()["delivered"] == 5

    run(scenario())


def test_while_the_cluster_is_unknown_compressed_batches_wait_in_their_order() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        sent = [text(number, size) for number, size in enumerate((120_000, 500, 100_000, 700))]
        async with running(cluster, compression_type="gzip", compression_gzip_level=9) as rig:
            for line in sent:
                rig.send(line)
            await rig.idle(20)
            assert lines_of(cluster.log("t"), CODECS["gzip"]) == sent

    run(scenario())


def test_a_codec_that_the_broker_does_not_know_is_told_and_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, state_directory=tmp_path, compression_type="zstd") as rig:
            rig.send(b"first")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, error(76))
            rig.send(text(1, 3000))
            rig.send(b"next")
            await rig.idle()
            assert rig.events.failed == [(Failed.BROKER_REFUSED, 76, False)]
            assert lines_of(cluster.log("t")) == [b"first", b"next"]

    run(scenario())
    (file,) = tmp_path.glob("dead-letters-*.jsonl")
    assert json.loads(file.read_text())["kafka_error"] == "UNSUPPORTED_COMPRESSION_TYPE"


def test_few_threads_are_made_and_only_when_there_is_work() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, compression_type="lz4") as rig:
            rig.send(text(1, 2_000))
            await rig.idle()
            assert not has_threads(rig)
            rig.send(text(1, 120_000))
            await rig.idle()
            assert has_threads(rig)
        assert compressor.THREADS_MAX <= 4

    run(scenario())
