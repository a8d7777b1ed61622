"""``AsyncProducer`` on the caller's own event loop, asyncio's and uvloop's, against the scripted broker."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from ingestd.client.errors import (
    BufferExhaustedException,
    IllegalStateException,
    KafkaException,
    RecordTooLargeException,
    TimeoutException,
)
from ingestd.producer import AsyncProducer, Future, ProducerRecord
from ingestd.producer.library import async_producer
from ingestd.producer.library.engine import Engine
from ingestd.producer.network.broker import Broker
from ingestd.producer.network.brokers import Brokers
from ingestd.producer.sender import Sender
from tests.fakes.broker import PRODUCE, FakeCluster, error
from tests.fakes.threaded import scripted
from tests.functional.producer_rig import lines_of

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    loop_run: Run = request.param
    return loop_run


def config(cluster: FakeCluster, **changes: Any) -> dict[str, Any]:
    quick = {"retry.backoff.ms": 10, "retry.backoff.max.ms": 50, "reconnect.backoff.ms": 10, "max.block.ms": 30_000}
    given = {name.replace("_", "."): value for name, value in changes.items()}
    return {"bootstrap.servers": ",".join(cluster.bootstrap), **quick, **given}


async def first_of(producer: AsyncProducer) -> None:
    """A first record delivered, though a busy host may not find the broker within a short max.block.ms."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(TimeoutException):
                await (await producer.send(ProducerRecord("t", "first")))
                return


def test_a_record_is_handed_over_and_then_delivered(run: Run) -> None:
    async def scenario() -> None:
        async with FakeCluster(topics={"t": 1}) as cluster:
            async with AsyncProducer(config(cluster)) as producer:
                metadata = await (await producer.send(ProducerRecord("t", "v", key="k")))
                assert (metadata.offset, metadata.serialized_key_size) == (0, 1)
                futures = [await producer.send(ProducerRecord("t", f"{number}")) for number in range(1000)]
                found = await asyncio.gather(*futures)
                assert [each.offset for each in found] == list(range(1, 1001))
                assert len(await producer.partitions_for("t")) == 1
                assert producer.metrics()["records-delivered-total"] == 1001
            assert producer.metrics() == {}
            with pytest.raises(IllegalStateException, match="closed"):
                await producer.send(ProducerRecord("t", "late"))

    run(scenario())


def test_flush_and_the_end_wait_for_retries(run: Run) -> None:
    async def scenario() -> None:
        async with FakeCluster(topics={"t": 1}) as cluster:
            slow = config(cluster, linger_ms=60_000, delivery_timeout_ms=120_000)
            async with AsyncProducer(slow) as producer:
                cluster.brokers[1].control(PRODUCE, error(19), times=3)
                future = await producer.send(ProducerRecord("t", "flushed"))
                await producer.flush()
                assert future.result().offset == 0
                future = await producer.send(ProducerRecord("t", "closed"))
            assert future.result().offset == 1
            assert lines_of(cluster.log("t")) == [b"flushed", b"closed"]

    run(scenario())


def test_waits_do_not_stop_the_loop_and_end_after_max_block_ms(run: Run) -> None:
    async def scenario() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        async with FakeCluster(topics={"t": 1}) as cluster:
            small = {"buffer_memory": 1 << 20, "max_request_size": 65536, "max_block_ms": 200}
            ticking = asyncio.create_task(tick())
            async with AsyncProducer(config(cluster, **small)) as producer:
                await first_of(producer)
                before = ticks
                with pytest.raises(TimeoutException, match="'absent'"):
                    await producer.send(ProducerRecord("absent", "v"))
                assert ticks > before + 1, "a loop that stands still meanwhile has no tick"
                await cluster.stop()
                futures: list[Future] = []
                with pytest.raises(BufferExhaustedException):
                    while True:
                        before = ticks
                        futures.append(await producer.send(ProducerRecord("t", bytes(5000))))
                assert ticks > before + 1
                await cluster.start()
                await producer.flush()
                assert {future.exception() for future in futures} == {None}
            ticking.cancel()

    run(scenario())


def test_a_loop_that_stood_still_past_max_block_ms_still_finds_the_topic(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_producer, "LATE_S_MAX", 5.0)

    async def scenario() -> None:
        with scripted(t=1) as cluster:
            async with AsyncProducer({"bootstrap.servers": cluster.bootstrap, "max.block.ms": 200}) as producer:
                sending = asyncio.create_task(producer.send(ProducerRecord("t", "v")))
                await asyncio.sleep(0)
                time.sleep(1.5)  # noqa: ASYNC251 (as a program should not)
                assert (await (await sending)).offset == 0

    run(scenario())


def test_what_concerns_a_record_is_raised_where_its_future_is_awaited(run: Run) -> None:
    async def scenario() -> None:
        async with FakeCluster(topics={"t": 1}) as cluster:
            producer = AsyncProducer(config(cluster, linger_ms=60_000, delivery_timeout_ms=120_000))
            future = await producer.send(ProducerRecord("t", bytes(2 << 20)))
            with pytest.raises(RecordTooLargeException):
                await future
            left = await producer.send(ProducerRecord("t", "never sent"))
            await producer.aclose(0)
            with pytest.raises(KafkaException):
                await left

    run(scenario())


@pytest.mark.parametrize(
    "place",
    [
        pytest.param((Engine, "_offer"), id="a callback of the loop"),
        pytest.param((Brokers, "look_for_silence"), id="a timer"),
        pytest.param((Sender, "produced"), id="an answer on a connection"),
        pytest.param((Broker, "_reach"), id="a task"),
    ],
)
def test_a_fault_of_our_own_ends_the_producer_and_leaves_the_loop_to_the_program(
    run: Run, place: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[dict[str, Any]] = []

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a mistake")

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        tasks = asyncio.all_tasks()
        async with FakeCluster(topics={"t": 1}) as cluster:
            producer = AsyncProducer(config(cluster, linger_ms=0, delivery_timeout_ms=120_000))
            if place[0] is not Broker:
                await (await producer.send(ProducerRecord("t", "first")))
            monkeypatch.setattr(*place, broken)
            with pytest.raises(KafkaException, match="a mistake"):
                async with asyncio.timeout(30):
                    while True:
                        await (await producer.send(ProducerRecord("t", "v")))
                        await asyncio.sleep(0.01)
            with pytest.raises(KafkaException, match="a mistake"):
                await producer.send(ProducerRecord("t", "v"))
            await producer.flush()
            await producer.aclose()
        assert asyncio.all_tasks() == tasks

    run(scenario())
    assert reported == []
