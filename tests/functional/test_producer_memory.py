"""Brokers, topics and clusters that forget or are made anew, deaths at bad moments, and pauses that end early."""

import asyncio
import dataclasses
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from ingestd.errors import ClusterError
from ingestd.figures import Count
from ingestd.hotpath.arena import Arena
from ingestd.producer import sender
from ingestd.producer.sender import Sender
from tests.fakes.broker import (
    CLOSE,
    INIT_PRODUCER_ID,
    NOTHING,
    PRODUCE,
    FakeCluster,
    Nothing,
    Partition,
    Request,
    Topic,
    error,
)
from tests.functional.producer_rig import Rig, clock, lines_of, running


def run(scenario: Coroutine[Any, Any, None]) -> None:
    uvloop.run(scenario)


def faults_of_the_loop() -> list[BaseException]:
    faults: list[BaseException] = []

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        faults.append(context["exception"])

    asyncio.get_running_loop().set_exception_handler(note)
    return faults


async def die(cluster: FakeCluster, path: Path, lines: list[bytes], taken: int, **changes: Any) -> None:
    """A process that has sent ``lines``, of which the broker took ``taken``, and saw no answer to them."""
    rig = Rig(cluster.bootstrap, path=path, request_timeout_ms=60_000, **changes)
    rig.send(b"first")
    await rig.idle()
    requests: list[Request] = []

    def hold(request: Request) -> Nothing:
        requests.append(request)
        if len(requests) <= taken:
            request.handle()
        return NOTHING

    cluster.brokers[1].control(PRODUCE, hold, times=len(lines))
    for line in lines:
        rig.send(line)
    await rig.until(lambda: len(requests) == len(lines))
    await rig.close()
    rig.arena.close()
    cluster.brokers[1].clear_controls()


def reopened(cluster: FakeCluster, path: Path, **changes: Any) -> Rig:
    return Rig(cluster.bootstrap, arena=Arena.open(path, now_ms=clock()[0]), **changes)


def test_a_broker_that_has_forgotten_proves_nothing() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            rig.send(b"1")
            await rig.idle()
            cluster.log("t").forget()
            cluster.brokers[1].control(PRODUCE, lambda _: CLOSE)
            cluster.brokers[1].control(PRODUCE, error(19))
            for line in (b"2", b"3", b"4"):
                rig.send(line)
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"1", b"2", b"3", b"4"]
            assert rig.arena.ledger()["delivered_unconfirmed_offsets"] == 0

    run(scenario())


def test_a_topic_made_anew_proves_nothing() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            rig.send(b"1")
            await rig.idle()
            cluster.topics["t"] = Topic(uuid.uuid4(), [Partition(1)])
            lane = rig.producer._accumulator.lanes["t", 0]
            row = lane.topic.row
            rig.producer._brokers.refresh()
            await rig.until(lambda: lane.topic.row is not row)
            cluster.brokers[1].control(PRODUCE, error(6))
            for line in (b"2", b"3", b"4"):
                rig.send(line)
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"2", b"3", b"4"]
            assert rig.producer.meter.figures.counts[Count.DATA_LOSS_SUSPECTED] == 0

    run(scenario())


def test_another_cluster_under_a_running_producer_ends_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        faults = faults_of_the_loop()
        async with FakeCluster(topics={"t": 1}) as cluster:
            rig = Rig(cluster.bootstrap, path=tmp_path / "a", request_timeout_ms=60_000)
            rig.send(b"1")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, lambda _: NOTHING)
            rig.send(b"2")
            await rig.until(lambda: rig.producer.in_doubt_batches)
            cluster.cluster_id = "other"
            rig.producer._brokers.refresh()
            await rig.until(lambda: faults)
            assert [type(fault) for fault in faults] == [ClusterError]
            rig.send(b"3")
            await rig.close()
            assert rig.arena.cluster_id == "fake"
            rig.arena.close()
            rig = reopened(cluster, tmp_path / "a")
            await rig.until(lambda: len(lines_of(cluster.log("t"))) == 2)
            assert lines_of(cluster.log("t")) == [b"1", b"3"]
            assert rig.producer.parked == 1
            await rig.close()

    run(scenario())


def test_a_topic_that_is_gone_at_the_start_fails_what_was_in_doubt(tmp_path: Path) -> None:
    async def scenario() -> None:
        faults = faults_of_the_loop()
        async with FakeCluster(topics={"t": 1}) as cluster:
            await die(cluster, tmp_path / "a", [b"1", b"2"], 0)
            del cluster.topics["t"]
            rig = reopened(cluster, tmp_path / "a", topic_denied_timeout_ms=100)
            await rig.idle()
            assert [(code, maybe) for _, code, maybe in rig.events.failed] == [(3, True), (3, True)]
            assert rig.arena.buffered() == 0
            await rig.close()
            assert faults == []

    run(scenario())


@pytest.mark.parametrize("idempotent", [False, True])
def test_batches_sent_without_idempotence_go_out_again_and_are_counted(tmp_path: Path, idempotent: bool) -> None:
    async def scenario() -> None:
        plain = {"acks": 1, "enable_idempotence": False}
        async with FakeCluster(topics={"t": 1}) as cluster:
            await die(cluster, tmp_path / "a", [b"1", b"2"], 1, **plain)
            rig = reopened(cluster, tmp_path / "a", **({} if idempotent else plain))
            rig.send(b"new")
            await rig.idle()
            log = cluster.log("t")
            assert lines_of(log) == [b"first", b"1", b"1", b"2", b"new"]
            assert all((batch.producer_id >= 0) is idempotent for batch in log.batches[2:])
            assert rig.arena.ledger()["possible_duplicates"] == 2
            await rig.close()

    run(scenario())


def test_a_restamp_cut_by_a_death_is_counted_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        faults = faults_of_the_loop()
        async with FakeCluster(topics={"t": 1}) as cluster:
            await die(cluster, tmp_path / "a", [b"1", b"2", b"3"], 3)
            log = cluster.log("t")
            log.producers[0].batches = [dataclasses.replace(log.batches[-1], sequence=1000)]

            def half(items: list[Any], now_ms: int) -> bool:
                item = items[0]
                item.arena.restamp(item.batch.entry, item.producer_id, item.epoch, item.sequence, item.flags, now_ms)
                raise RuntimeError("killed here")

            with monkeypatch.context() as patch:
                patch.setattr(sender, "write_numbers", half)
                rig = reopened(cluster, tmp_path / "a")
                await rig.until(lambda: faults)
                await rig.close()
                rig.arena.close()
            rig = reopened(cluster, tmp_path / "a")
            await rig.idle()
            assert lines_of(log) == [b"first", b"1", b"2", b"3", b"1", b"2", b"3"]
            assert rig.arena.ledger()["possible_duplicates"] == 3
            await rig.close()

    run(scenario())


def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often the sender has looked for something to send."""
    count = 0
    pump = Sender._pump

    def look(self: Sender, broker: Any) -> None:
        nonlocal count
        count += 1
        pump(self, broker)

    monkeypatch.setattr(Sender, "_pump", look)
    return lambda: count


def test_nothing_turns_while_a_producer_id_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, request_timeout_ms=300) as rig:
            rig.send(b"1")
            await rig.idle()
            looked = counted(monkeypatch)
            cluster.brokers[1].control(INIT_PRODUCER_ID, lambda _: NOTHING)
            cluster.brokers[1].control(PRODUCE, error(47))
            rig.send(b"2")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"1", b"2"]
            assert looked() < 30

    run(scenario())


class EarlyLoop:
    """An event loop whose timers fire when half of their time is over, as a coarse clock may let them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call_later(self, delay_s: float, call: Callable[..., Any], *arguments: Any) -> asyncio.TimerHandle:
        return self._loop.call_later(delay_s / 2, call, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


def test_a_timer_that_fires_early_is_set_again() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, retry_backoff_ms=40) as rig:
            early: Any = EarlyLoop(asyncio.get_running_loop())
            rig.producer._sender._loop = early
            cluster.brokers[1].control(PRODUCE, error(19))
            rig.send(b"1")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"1"]

    run(scenario())
