"""Batches larger than the broker takes: split until they fit, in order, and the next ones are smaller."""

import json
from base64 import b64decode
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest
import uvloop

from ingestd.figures import Count
from ingestd.metrics import Failed
from ingestd.producer.compression import GZIP, Codec, decompress, encode
from tests.fakes.broker import CLOSE, PRODUCE, SILENCE, Close, FakeCluster, Request, Silence
from tests.functional.producer_rig import lines_of, running


def run(scenario: Coroutine[Any, Any, None]) -> None:
    uvloop.run(scenario)


def letters(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]


def limit(cluster: FakeCluster, bytes_max: int, code: int = 10) -> None:
    for topic in cluster.topics.values():
        topic.partitions[0].batch_bytes_max = bytes_max
        topic.partitions[0].too_large = code


def lines(count: int, size: int = 100, seed: int = 1) -> list[bytes]:
    random = Random(seed)
    return [b"%d " % number + random.randbytes(size // 5).hex().encode() * 5 for number in range(count)]


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("code", [10, 18])
def test_a_batch_that_is_too_large_is_split_until_it_fits(codec: str, code: int) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, compression_type=codec) as rig:
            limit(cluster, 1500, code)
            sent = lines(64)
            rig.send(*sent)
            await rig.idle()
            log = cluster.log("t")
            assert lines_of(log, {"none": 0, "lz4": 3, "zstd": 4}[codec]) == sent
            # the parts tile the numbers that the whole had
            assert [batch.sequence for batch in log.batches] == [batch.base_offset for batch in log.batches]
            assert {batch.epoch for batch in log.batches} == {0}
            assert sum(count for _, _, count in rig.events.delivered) == 64
            assert rig.events.failed == []
            assert rig.arena.ledger()["possible_duplicates"] == 0
            assert len(rig.events.splits) == rig.producer.meter.figures.counts[Count.BATCHES_SPLIT] > 0

    run(scenario())


def test_parts_are_compressed_at_the_level_of_their_topic() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, compression_type="gzip", compression_gzip_level=1) as rig:
            limit(cluster, 1500)
            rig.send(*lines(64))
            await rig.idle()
            assert rig.events.splits
            for batch in cluster.log("t").batches:
                plain = memoryview(decompress(GZIP, batch.payload))
                assert batch.payload == encode(Codec(GZIP, 1), plain) != encode(Codec(GZIP, -1), plain)

    run(scenario())


def test_batches_behind_a_split_one_keep_their_numbers_and_their_order() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            rig.send(b"first")
            await rig.idle()
            limit(cluster, 1000)
            sent = lines(30)
            for at in range(0, 30, 6):
                rig.send(*sent[at : at + 6])
            await rig.idle()
            log = cluster.log("t")
            assert lines_of(log) == [b"first", *sent]
            assert {batch.epoch for batch in log.batches} == {0}
            assert rig.arena.ledger()["possible_duplicates"] == 0

    run(scenario())


def test_one_record_that_is_too_large_fails_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, state_directory=tmp_path) as rig:
            limit(cluster, 1000)
            sent = lines(20)
            rig.send(*sent[:10], b"giant" * 1000, *sent[10:])
            await rig.idle()
            assert lines_of(cluster.log("t")) == sent
            assert rig.events.failed == [(Failed.MESSAGE_TOO_LARGE, 10, False)]
            assert rig.arena.ledger()["possible_duplicates"] == 0
        [letter] = letters(tmp_path)
        assert b64decode(letter["value"]) == b"giant" * 1000
        assert (letter["reason"], letter["kafka_error"]) == ("message_too_large", "MESSAGE_TOO_LARGE")

    run(scenario())


def test_after_a_split_the_next_batches_of_the_topic_fit() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1, "other": 1})
        async with running(cluster, topics=("t", "other")) as rig:
            limit(cluster, 2000)
            rig.send(*lines(60))
            await rig.idle()
            splits = len(rig.events.splits)
            assert splits
            for seed in range(2, 6):
                rig.send(*lines(60, seed=seed))
                await rig.idle()
            assert len(rig.events.splits) == splits
            rig.send(*lines(60), topic="other")
            await rig.idle()
            assert len(rig.events.splits) > splits

    run(scenario())


def test_a_batch_in_doubt_that_is_too_large_is_split_and_counted_as_a_possible_duplicate() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            rig.send(b"first")
            await rig.idle()

            def control(request: Request) -> Close:
                request.handle()
                limit(cluster, 1500)
                return CLOSE

            cluster.brokers[1].control(PRODUCE, control)
            sent = lines(20)
            rig.send(*sent)
            await rig.idle()
            # the broker has lowered its limit between the two, and nothing comes behind: better twice than not at all
            assert lines_of(cluster.log("t")) == [b"first", *sent, *sent]
            assert cluster.log("t").batches[-1].epoch == 1
            assert rig.arena.ledger()["possible_duplicates"] == 20

    run(scenario())


@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_batches_in_doubt_that_are_too_large_by_now_are_written_once(written: int) -> None:
    """Of three batches sent at once, the first ``written`` are in the log when the connection is lost."""

    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, batch_size=2000, request_timeout_ms=400) as rig:
            rig.send(b"first")
            await rig.idle()
            requests = 0

            def control(request: Request) -> Close | Silence:
                nonlocal requests
                requests += 1
                if requests <= written:
                    request.handle()
                if requests < 3:
                    return SILENCE
                limit(cluster, 1000)
                return CLOSE

            cluster.brokers[1].control(PRODUCE, control, times=3)
            sent = lines(54)
            rig.send(*sent)
            await rig.until(lambda: requests == 3)
            rig.send(b"behind", b"them")
            await rig.idle()
            assert len(cluster.log("t").batches) > 3
            assert lines_of(cluster.log("t")) == [b"first", *sent, b"behind", b"them"]
            assert rig.arena.ledger()["possible_duplicates"] == 0
            assert rig.arena.ledger()["delivered"] == 57

    run(scenario())


@pytest.mark.parametrize("idempotent", [True, False])
def test_close_waits_for_the_parts(idempotent: bool) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, enable_idempotence=idempotent) as rig:
            limit(cluster, 1500)
            sent = lines(40)
            rig.send(*sent)
            assert await rig.producer.close(5000)
            assert lines_of(cluster.log("t")) == sent

    run(scenario())
