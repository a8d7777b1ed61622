"""What brokers refuse: bad records, whole batches, topics; and what is kept of it."""

import asyncio
import json
import uuid
from base64 import b64decode
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest
import uvloop

from ingestd.hotpath.arena import Arena
from ingestd.kafka.errors import INVALID_PRODUCER_EPOCH
from ingestd.metrics import Failed
from ingestd.producer import outcomes
from ingestd.producer.compression import CODECS
from tests.fakes.broker import CLOSE, PRODUCE, FakeCluster, Partition, error
from tests.functional.producer_rig import Rig, clock, lines_of, running


def run(scenario: Coroutine[Any, Any, None]) -> None:
    uvloop.run(scenario)


def letters(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("dead-letters-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.mark.parametrize("codec", CODECS)
def test_bad_records_are_taken_out_and_the_rest_is_delivered(codec: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, state_directory=tmp_path, compression_type=codec) as rig:
            cluster.brokers[1].control(PRODUCE, error(87, record_errors=((1, "no key"), (3, "odd"))))
            rig.send(*[b"%d" % number + b"." * 150 for number in range(5)])
            await rig.idle()
            assert [line[:1] for line in lines_of(cluster.log("t"), CODECS[codec])] == [b"0", b"2", b"4"]
            assert cluster.log("t").batches[0].sequence == 0
            assert rig.events.refused == [({1: "no key", 3: "odd"}, Failed.RECORD_REFUSED, 87, False)]
            ledger = rig.arena.ledger()
            assert (ledger["delivered"], ledger["failed"]) == (3, 2)
        kept = letters(tmp_path)
        assert [(b64decode(letter["value"])[:1], letter["text"]) for letter in kept] == [
            (b"1", "no key"),
            (b"3", "odd"),
        ]
        assert kept[0]["kafka_error"] == "INVALID_RECORD"
        assert kept[0]["reason"] == "record_refused"
        assert kept[0]["listener"] == "listener-t"
        assert kept[0]["sender"] == "connection 100"
        assert kept[0]["first_send_ms"] >= kept[0]["accepted_ms"] > 0
        assert kept[0]["may_have_been_written"] is False

    run(scenario())


def test_batches_behind_a_repaired_one_move_to_the_next_epoch() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            rig.send(b"first")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, error(87, record_errors=((0, "bad"),)))
            rig.send(b"a", b"b")
            rig.send(b"c")
            rig.send(b"d")
            await rig.idle()
            log = cluster.log("t")
            assert lines_of(log) == [b"first", b"b", b"c", b"d"]
            assert [batch.epoch for batch in log.batches] == [0, 1, 1, 1]
            assert rig.arena.ledger()["possible_duplicates"] == 0

    run(scenario())


@pytest.mark.parametrize(
    ("code", "reason"), [(10, Failed.MESSAGE_TOO_LARGE), (18, Failed.MESSAGE_TOO_LARGE), (87, Failed.BROKER_REFUSED)]
)
def test_a_refused_batch_fails_alone(code: int, reason: Failed, tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, state_directory=tmp_path) as rig:
            rig.send(b"first")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, error(code))
            for line in (b"bad", b"c", b"d"):
                rig.send(line)
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"first", b"c", b"d"]
            assert rig.events.failed == [(reason, code, False)]
        assert [b64decode(letter["value"]) for letter in letters(tmp_path)] == [b"bad"]

    run(scenario())


def test_a_refused_batch_in_doubt_may_have_been_written(tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, state_directory=tmp_path) as rig:
            rig.send(b"first")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, lambda request: (request.handle(), CLOSE)[1])
            cluster.brokers[1].control(PRODUCE, error(10))
            rig.send(b"bad")
            await rig.until(lambda: rig.events.failed)
            rig.send(b"next")
            await rig.idle()
            assert rig.events.failed == [(Failed.MAY_HAVE_BEEN_WRITTEN, 10, True)]
            assert lines_of(cluster.log("t")) == [b"first", b"bad", b"next"]
        assert letters(tmp_path)[0]["may_have_been_written"] is True

    run(scenario())


def test_a_bad_record_of_a_batch_that_has_got_other_numbers_may_have_been_written(tmp_path: Path) -> None:
    """Written without an answer, under numbers that the cluster then disowns; under the next ones it is refused."""

    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, state_directory=tmp_path) as rig:
            rig.send(b"first")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, lambda request: (request.handle(), CLOSE)[1])
            cluster.brokers[1].control(PRODUCE, error(INVALID_PRODUCER_EPOCH))
            cluster.brokers[1].control(PRODUCE, error(87, record_errors=((1, "bad"),)))
            rig.send(b"a", b"b")
            await rig.idle()
            assert rig.events.refused == [({1: "bad"}, Failed.MAY_HAVE_BEEN_WRITTEN, 87, True)]
            assert lines_of(cluster.log("t")) == [b"first", b"a", b"b", b"a"]
            ledger = rig.arena.ledger()
            assert (ledger["delivered"], ledger["failed"], ledger["possible_duplicates"]) == (2, 1, 1)
        [letter] = letters(tmp_path)
        assert (letter["reason"], letter["may_have_been_written"]) == ("may_have_been_written", True)

    run(scenario())


@pytest.mark.parametrize("code", [3, 29])
def test_a_topic_denied_for_too_long_fails(code: int, tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1, "good": 1})
        async with running(cluster, topics=("t", "good"), state_directory=tmp_path, topic_denied_timeout_ms=300) as rig:
            for broker in cluster.brokers.values():
                broker.denied["t"] = code
            rig.send(b"a")
            rig.send(b"b", topic="good")
            await rig.idle()
            assert rig.events.failed == [(Failed.TOPIC_DENIED, code, False)]
            assert lines_of(cluster.log("good")) == [b"b"]
            cluster.brokers[1].denied.clear()
            await rig.until(lambda: rig.leaders.get("t"))
            rig.send(b"c")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"c"]
        assert letters(tmp_path)[0]["reason"] == "topic_denied"

    run(scenario())


def test_a_right_taken_away_while_running_waits_and_then_goes_on() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            rig.send(b"a")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, error(29), times=3)
            for line in (b"b", b"c"):
                rig.send(line)
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a", b"b", b"c"]
            assert rig.events.failed == []

    run(scenario())


def test_a_fenced_producer_goes_on_under_a_fresh_id() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            rig.send(b"a")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, error(47))
            rig.send(b"b")
            await rig.idle()
            log = cluster.log("t")
            assert lines_of(log) == [b"a", b"b"]
            assert [batch.producer_id for batch in log.batches] == [0, 1]

    run(scenario())


def test_an_unknown_error_code_is_retried() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            cluster.brokers[1].control(PRODUCE, error(-1))
            rig.send(b"a")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a"]

    run(scenario())


def fill_up(rig: Rig) -> None:
    """No page is left; what took them is never sent."""
    while rig.arena.free_pages:
        rig.fill(b"x" * 3000, topic="waiting")


def without_reserve() -> Arena:
    return Arena.create(None, buffer_bytes=1 << 20, topic_capacity=4, reserve_pages=0, now_ms=clock()[0])


@pytest.mark.parametrize("behind", [0, 2])
def test_a_repair_that_never_finds_room_fails_its_batch_as_a_whole(
    behind: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "REPAIRS_MAX", 3)
    monkeypatch.setattr(outcomes, "ROOM_WAIT_MS", 10)

    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        changes = {"topics": ("t", "waiting"), "arena": without_reserve(), "state_directory": tmp_path}
        async with running(cluster, **changes) as rig:
            rig.send(b"first")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, error(87, record_errors=((0, "bad"),)))
            rig.send(b"a" * 3000, b"b")
            for number in range(behind):
                rig.send(b"%d" % number)
            fill_up(rig)
            await rig.idle()
            assert rig.events.failed == [(Failed.RECORD_REFUSED, 87, False)]
            assert rig.events.refused == []
            rig.send(b"next")
            await rig.until(lambda: lines_of(cluster.log("t"))[-1] == b"next")
            assert lines_of(cluster.log("t")) == [b"first", *[b"%d" % number for number in range(behind)], b"next"]
            assert rig.arena.ledger()["failed"] == 2
        assert [(b64decode(letter["value"])[:1], letter["text"]) for letter in letters(tmp_path)] == [
            (b"a", "bad"),
            (b"b", "bad"),
        ]

    run(scenario())


def test_a_repair_that_had_to_wait_for_room_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "ROOM_WAIT_MS", 10)

    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        changes = {"topics": ("t", "waiting"), "arena": without_reserve(), "state_directory": tmp_path}
        async with running(cluster, **changes) as rig:
            cluster.brokers[1].control(PRODUCE, error(87, record_errors=((0, "bad"),)))
            rig.send(b"a" * 3000, b"b")
            fill_up(rig)
            await asyncio.sleep(0.1)
            assert not rig.producer.idle
            assert (rig.events.refused, letters(tmp_path)) == ([], [])
            rig.producer.sealed(rig.arena, rig.arena.take_sealed()[:2])
            cluster.topics["waiting"] = type(cluster.topics["t"])(uuid.uuid4(), [Partition(1)])
            await rig.idle()
            assert rig.events.refused == [({0: "bad"}, Failed.RECORD_REFUSED, 87, False)]
            assert lines_of(cluster.log("t")) == [b"b"]
        assert len(letters(tmp_path)) == 1

    run(scenario())


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_an_outage_that_fills_the_arena_leaves_room_for_repairs(codec: str) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, compression_type=codec, buffer_memory=4 << 20, batch_size=1 << 17) as rig:
            rig.send(b"first")
            await rig.idle()
            await cluster.brokers[1].stop()
            await rig.until(lambda: not rig.producer.brokers_connected)
            random = Random(1)
            while rig.arena.free_pages > 300:
                rig.send(*[random.randbytes(1000).hex().encode() + b"0" * 4000 for _ in range(12)])
            while rig.arena.free_pages:
                rig.fill(random.randbytes(1500).hex().encode())
            rig.producer.sealed(rig.arena, rig.arena.take_sealed())
            assert rig.arena.free_reserve_pages == rig.arena.reserve_pages
            cluster.brokers[1].control(PRODUCE, error(87, record_errors=((0, "bad"),)))
            await cluster.brokers[1].start()
            await rig.idle(10)
            assert rig.arena.ledger()["failed"] == 1
            assert rig.events.failed == []

    run(scenario())
