"""What keeps the producer back: throttling, requests in flight, backoff; seen by when requests arrive."""

import asyncio
import itertools
from collections.abc import Coroutine
from typing import Any

import pytest
import uvloop

from ingestd.figures import Count
from ingestd.producer import batch_producer
from tests.fakes.broker import (
    API_VERSIONS,
    CLOSE,
    INIT_PRODUCER_ID,
    METADATA,
    NOTHING,
    PRODUCE,
    SILENCE,
    FakeBroker,
    FakeCluster,
    error,
)
from tests.functional.producer_rig import Rig, Skipping, assert_gaps, lines_of, running

THROTTLE_MS = 300


def run(scenario: Coroutine[Any, Any, None]) -> None:
    uvloop.run(scenario)


def arrivals(broker: FakeBroker, api_key: int) -> list[float]:
    return [at for at, api in broker.arrivals if api == api_key]


def gaps(broker: FakeBroker, api_key: int) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(arrivals(broker, api_key))]


@pytest.mark.parametrize(("version", "silent"), [(3, False), (7, True), (13, True)])
def test_a_throttle_time_is_obeyed_from_produce_6_on(version: int, silent: bool) -> None:
    """Below that the broker has answered late instead, and waits for nothing."""

    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        broker = cluster.brokers[1]
        broker.ranges[PRODUCE] = (0, version)
        async with running(cluster, request_timeout_ms=200) as rig:
            rig.send(b"first")
            await rig.idle()
            broker.throttle_ms = THROTTLE_MS
            rig.send(b"a")
            await rig.idle()
            broker.throttle_ms = 0
            rig.send(b"b")
            await rig.idle()
            assert (gaps(broker, PRODUCE)[-1] >= THROTTLE_MS / 1000) is silent
            assert broker.connections == 2, "the throttle did not count as waiting for an answer"
            assert lines_of(cluster.log("t")) == [b"first", b"a", b"b"]

    run(scenario())


def test_what_is_in_flight_when_a_throttle_begins_has_that_time_on_top() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 2})
        broker = cluster.brokers[1]
        changes = {"partitions": 2, "request_timeout_ms": 150, "max_request_size": 1500}
        async with running(cluster, **changes) as rig:
            for number in range(8):
                rig.send(b"%d" % number)
            await rig.idle()
            connections, before = broker.connections, broker.requests[PRODUCE]
            broker.throttle_ms = THROTTLE_MS
            broker.control(PRODUCE, lambda _: None)

            def late(request: Any) -> Any:
                broker.delay_s = 0.25  # longer than the request timeout: a throttled broker reads later
                asyncio.get_running_loop().call_later(0.01, setattr, broker, "delay_s", 0)
                return request.handle()

            broker.control(PRODUCE, late)
            for number in range(8, 12):
                rig.send(b"%d" % number + b"." * 1000)
            await rig.until(lambda: broker.requests[PRODUCE] > before)
            broker.throttle_ms = 0
            await rig.idle()
            assert broker.connections == connections
            assert rig.producer.meter.figures.counts[Count.BATCHES_SENT] == 12

    run(scenario())


@pytest.mark.parametrize("api_key", [METADATA, INIT_PRODUCER_ID, API_VERSIONS])
def test_a_throttle_time_of_any_answer_silences_its_connection(api_key: int) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        broker = cluster.brokers[1]
        broker.throttle_ms_of[api_key] = THROTTLE_MS
        async with running(cluster) as rig:
            await rig.until(lambda: broker.requests[METADATA] and broker.requests[INIT_PRODUCER_ID])
            broker.throttle_ms_of.clear()
            rig.send(b"a")
            await rig.idle()
            said = arrivals(broker, api_key)[0]
            # the seed's connection and the broker's: the one that was throttled is the first
            assert lines_of(cluster.log("t")) == [b"a"]
            behind = [at for at, _ in broker.arrivals if at > said]
            if api_key == API_VERSIONS:
                assert behind[0] - said >= THROTTLE_MS / 1000 * 0.99

    run(scenario())


@pytest.mark.parametrize("limit", [1, 3, 5])
def test_no_more_requests_are_in_flight_than_allowed(limit: int) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 8})
        broker = cluster.brokers[1]
        changes = {"partitions": 8, "max_in_flight_requests_per_connection": limit, "max_request_size": 1100}
        async with running(cluster, **changes) as rig:
            for number in range(40):
                rig.send(b"%d" % number)
            await rig.idle()
            before = broker.requests[PRODUCE]
            broker.control(PRODUCE, lambda _: NOTHING, times=100)
            for number in range(40):
                rig.send(b"%d" % number + b"." * 1000)
            await rig.until(lambda: broker.requests[PRODUCE] == before + limit)
            await asyncio.sleep(0.05)
            assert broker.requests[PRODUCE] == before + limit
            broker.clear_controls()
            broker.cut()
            await rig.idle()

    run(scenario())


def test_with_one_request_in_flight_order_holds_without_idempotence() -> None:
    """max.in.flight.requests.per.connection = 1 mutes a partition until its answer is there, on any connection."""

    async def scenario() -> None:
        cluster = FakeCluster(nodes=2, topics={"t": 1})
        changes = {"max_in_flight_requests_per_connection": 1, "enable_idempotence": False}
        async with running(cluster, **changes) as rig:
            expected = []
            for number in range(60):
                if number % 10 == 3:
                    cluster.brokers[1 + number // 10 % 2].control(PRODUCE, error(19))
                    cluster.brokers[1 + number // 10 % 2].control(PRODUCE, lambda _: CLOSE)
                if number % 20 == 15:
                    cluster.move("t", 0, 2 - number // 20 % 2)
                line = b"%d" % number
                rig.send(line)
                expected.append(line)
                await asyncio.sleep(0.001)
            await rig.idle()
            assert lines_of(cluster.log("t")) == expected

    run(scenario())


@pytest.mark.parametrize("busy", [False, True], ids=["free", "busy"])
def test_a_batch_grows_while_those_before_it_cannot_be_sent(busy: bool) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        broker = cluster.brokers[1]
        async with running(cluster, grow=True, max_in_flight_requests_per_connection=1) as rig:
            rig.put(b"first")
            await rig.idle()
            if busy:
                broker.answering.clear()
            for number in range(40):
                rig.put(b"%d" % number)
                await rig.idle() if not busy else await asyncio.sleep(0.001)
            broker.answering.set()
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"first", *(b"%d" % number for number in range(40))]
            batches = len(cluster.log("t").batches) - 1
            assert batches <= 5 if busy else batches == 40

    run(scenario())


def test_what_grew_is_sent_when_those_before_it_were_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_producer, "HOUSEKEEPING_MS", 50)

    async def scenario() -> None:
        clock = Skipping()
        cluster = FakeCluster(topics={"t": 1})
        broker = cluster.brokers[1]
        changes = {"request_timeout_ms": 60_000, "delivery_timeout_ms": 10_000}
        async with running(cluster, grow=True, producer_clock=clock, **changes) as rig:
            broker.control(PRODUCE, lambda _: SILENCE)
            for number in range(6):
                rig.put(b"%d" % number)
            assert rig.arena.buffered() == 6
            await rig.until(lambda: broker.requests[PRODUCE] == 1)
            clock.skipped_ms = 10_000
            await rig.until(lambda: rig.events.failed)
            broker.cut()
            await rig.idle()
            await rig.until(lambda: rig.arena.buffered() == 0)
            assert lines_of(cluster.log("t")) == [b"0", b"2", b"3", b"4", b"5"]

    run(scenario())


def test_where_records_expire_none_waits_long_in_a_batch_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_producer, "HOUSEKEEPING_MS", 50)

    async def scenario() -> None:
        clock = Skipping()
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, grow=True, producer_clock=clock, delivery_timeout_ms=60_000) as rig:
            await cluster.brokers[1].stop()
            for number in range(6):
                rig.put(b"%d" % number)
            assert rig.arena.open_batches
            # their time runs from sealing
            await rig.until(lambda: not rig.arena.open_batches)
            clock.skipped_ms = 60_000
            await rig.until(lambda: rig.arena.ledger()["failed"] == 6)
            await cluster.brokers[1].start()

    run(scenario())


def test_retries_of_a_batch_back_off_by_the_formula() -> None:
    async def scenario() -> list[float]:
        cluster = FakeCluster(topics={"t": 1})
        broker = cluster.brokers[1]
        async with running(cluster, retry_backoff_ms=40, retry_backoff_max_ms=100) as rig:
            rig.send(b"first")
            await rig.idle()
            broker.control(PRODUCE, error(19), times=4)
            rig.send(b"a")
            await rig.idle()
            found = gaps(broker, PRODUCE)[1:]
            assert len(found) == 4
            return found

    assert_gaps(scenario, [(0.032, 0.098), (0.064, 0.146), (0.08, 0.15), (0.08, 0.15)])


def test_a_broker_that_refuses_connections_is_tried_again_by_the_formula() -> None:
    async def scenario() -> list[float]:
        times: list[float] = []

        async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            times.append(asyncio.get_running_loop().time())
            writer.transport.abort()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        rig = Rig((f"127.0.0.1:{port}",), reconnect_backoff_ms=50, reconnect_backoff_max_ms=200, retry_backoff_ms=1)
        await rig.until(lambda: len(times) >= 6)
        await rig.close()
        server.close()
        return [later - earlier for earlier, later in itertools.pairwise(times)]

    assert_gaps(scenario, [(0.04, 0.14), (0.08, 0.2), (0.16, 0.28), (0.16, 0.28)])
