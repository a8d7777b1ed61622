"""Finding the cluster and finding it again: several seeds, several addresses, brokers replaced, topics that rest."""

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from typing import Any

import pytest
import uvloop

from ingestd.producer.network import broker as broker_module
from ingestd.producer.network import brokers as brokers_module
from ingestd.producer.network import resolver
from tests.fakes.broker import (
    API_VERSIONS,
    METADATA,
    PRODUCE,
    SILENCE,
    FakeBroker,
    FakeCluster,
    Request,
    rebootstrap_required,
)
from tests.functional.producer_rig import Rig, lines_of, running

FAST: dict[str, Any] = {"socket_connection_setup_timeout_ms": 150, "socket_connection_setup_timeout_max_ms": 150}


def run(scenario: Coroutine[Any, Any, None]) -> None:
    uvloop.run(scenario)


@contextmanager
def swallowing() -> Iterator[tuple[str, int]]:
    """An address whose SYNs are dropped: a listening socket whose backlog is full and that nobody accepts from."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.2", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(address)
            waiting.append(one)
        try:
            yield address
        finally:
            for one in waiting:
                one.close()


def named(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[tuple[str, int]]]) -> None:
    """``names``: host → addresses; other hosts are resolved as usual."""
    real = resolver.addresses

    async def addresses(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[resolver.Address]:
        if host not in names:
            return await real(loop, host, port)
        return [resolver.Address(socket.AF_INET, socket.SOCK_STREAM, 0, address) for address in names[host]]

    for module in (resolver, broker_module):
        monkeypatch.setattr(module, "addresses", addresses)


def test_a_dead_address_of_a_name_does_not_hide_the_living_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with FakeCluster(topics={"t": 1}) as cluster:
            with swallowing() as hole:
                named(monkeypatch, {"kafka": [hole, ("127.0.0.3", 9), ("127.0.0.1", cluster.brokers[1].port)]})
                rig = Rig(("kafka:9092",), **FAST)
                rig.send(b"a")
                await rig.idle()
                await rig.close()
            assert lines_of(cluster.log("t")) == [b"a"]

    run(scenario())


def test_aliases_stand_for_the_hosts_behind_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with FakeCluster(topics={"t": 1}) as cluster:
            port = cluster.brokers[1].port
            asked: list[str] = []

            async def canonical(_: asyncio.AbstractEventLoop, host: str, __: int) -> list[str]:
                asked.append(host)
                if len(asked) == 1:
                    raise OSError("the resolver is not there yet")
                return ["away.example", "node-1.example"]

            monkeypatch.setattr(brokers_module, "canonical_names", canonical)
            named(monkeypatch, {"alias": [], "away.example": [], "node-1.example": [("127.0.0.1", port)]})
            rig = Rig((f"alias:{port}",), client_dns_lookup="resolve_canonical_bootstrap_servers_only")
            rig.send(b"a")
            await rig.idle()
            await rig.close()
            assert lines_of(cluster.log("t")) == [b"a"]
            assert set(asked) == {"alias"}

    run(scenario())


def test_canonical_names_come_from_the_resolver() -> None:
    async def scenario() -> None:
        names = await resolver.canonical_names(asyncio.get_running_loop(), "127.0.0.1", 9092)
        assert names == [socket.getnameinfo(("127.0.0.1", 9092), 0)[0]]

    run(scenario())


def test_a_seed_that_swallows_packets_delays_the_others_by_a_moment_only() -> None:
    async def scenario() -> None:
        async with FakeCluster(topics={"t": 1}) as cluster:
            with swallowing() as hole:
                seeds = (f"{hole[0]}:{hole[1]}", *cluster.bootstrap)
                rig = Rig(
                    seeds, socket_connection_setup_timeout_ms=60_000, socket_connection_setup_timeout_max_ms=60_000
                )
                rig.send(b"a")
                await rig.idle()
                await rig.close()
            assert lines_of(cluster.log("t")) == [b"a"]

    run(scenario())


@asynccontextmanager
async def behind_a_seed(
    nodes: int, partitions: int, **changes: Any
) -> AsyncIterator[tuple[FakeCluster, FakeBroker, Rig]]:
    """A cluster that is found through one server which is none of its brokers, and a rig that knows only that one."""
    cluster = FakeCluster(nodes=nodes, topics={"t": partitions})
    seed = FakeBroker(cluster, 77)
    await seed.start()
    await cluster.start()
    rig = Rig((f"127.0.0.1:{seed.port}",), partitions=partitions, **changes)
    try:
        yield cluster, seed, rig
    finally:
        await rig.close()
        await cluster.stop()
        await seed.stop()


def test_brokers_that_were_all_replaced_are_found_through_the_bootstrap_servers() -> None:
    async def scenario() -> None:
        async with behind_a_seed(3, 3) as (cluster, _, rig):
            rig.send(b"a")
            await rig.idle()
            for broker in cluster.brokers.values():
                await broker.stop()
            cluster.brokers = {9: FakeBroker(cluster, 9)}
            await cluster.start()
            for partition in range(3):
                cluster.move("t", partition, 9)
            rig.send(b"b")
            await rig.idle()
            assert sorted(line for index in range(3) for line in lines_of(cluster.log("t", index))) == [b"a", b"b"]
            assert set(rig.producer._brokers.by_node) == {9}

    run(scenario())


def test_without_recovery_only_brokers_that_were_heard_of_are_tried() -> None:
    async def scenario() -> None:
        async with behind_a_seed(1, 1, metadata_recovery_strategy="none") as (cluster, seed, rig):
            rig.send(b"a")
            await rig.idle()
            visits = seed.connections
            await cluster.brokers[1].stop()
            rig.send(b"b")
            with pytest.raises(TimeoutError):
                await rig.idle(0.5)
            assert seed.connections == visits
            await cluster.brokers[1].start()
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a", b"b"]

    run(scenario())


@pytest.mark.parametrize("api_key", [METADATA, API_VERSIONS])
def test_a_server_that_asks_for_it_sends_us_back_to_the_bootstrap_servers(api_key: int) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(nodes=2, topics={"t": 1})
        async with running(cluster) as rig:
            rig.send(b"a")
            await rig.idle()
            before = rig.producer._brokers.by_node
            for broker in cluster.brokers.values():
                broker.control(api_key, rebootstrap_required)
            if api_key == METADATA:
                rig.producer._brokers.refresh()
            else:
                cluster.brokers[1].cut()
            rig.send(b"b")
            await rig.until(lambda: rig.producer._brokers.by_node is not before)
            for broker in cluster.brokers.values():
                broker.clear_controls()
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a", b"b"]

    run(scenario())


def test_no_metadata_for_too_long_leads_back_to_the_bootstrap_servers() -> None:
    """The known broker lives, and answers every request for metadata with silence."""

    async def scenario() -> None:
        changes = {"metadata_recovery_rebootstrap_trigger_ms": 300, "request_timeout_ms": 100}
        async with behind_a_seed(1, 1, **changes) as (cluster, seed, rig):
            rig.send(b"a")
            await rig.idle()
            rig.producer._brokers.refresh()
            await rig.until(lambda: cluster.brokers[1].requests[METADATA] or seed.requests[METADATA] > 1)
            await rig.until(lambda: all(one.connection is None for one in rig.producer._brokers._bootstrap.values()))
            asked = seed.requests[METADATA]
            cluster.brokers[1].control(METADATA, lambda _: SILENCE, times=100)
            rig.producer._brokers.refresh()
            await rig.until(lambda: seed.requests[METADATA] > asked)
            assert cluster.brokers[1].requests[METADATA] > 1
            rig.send(b"b")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a", b"b"]

    run(scenario())


def test_metadata_of_a_broker_that_knows_nothing_yet_is_not_believed() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        broker = cluster.brokers[1]

        def knows_nothing(request: Request) -> bytes:
            brokers, cluster.brokers = cluster.brokers, {}
            topics, cluster.topics = cluster.topics, {}
            try:
                return request.handle()
            finally:
                cluster.brokers, cluster.topics = brokers, topics

        async with running(cluster) as rig:
            rig.send(b"a")
            await rig.idle()
            connections, asked = broker.connections, broker.requests[METADATA]
            broker.control(METADATA, knows_nothing, times=3)
            rig.producer._brokers.refresh()
            await rig.until(lambda: broker.requests[METADATA] > asked + 3)
            rig.send(b"b")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a", b"b"]
            assert broker.connections == connections
            assert rig.leaders["t"] == b"\1"

    run(scenario())


def test_a_topic_without_records_is_not_asked_about_until_it_has_some_again() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"busy": 1, "quiet": 1})
        changes = {"metadata_max_age_ms": 60, "metadata_max_idle_ms": 250}
        async with running(cluster, topics=("busy", "quiet"), **changes) as rig:
            broker = cluster.brokers[1]
            rig.send(b"1", topic="quiet")
            await rig.idle()
            while broker.asked[-1] != ("busy",):
                rig.send(b"x", topic="busy")
                await asyncio.sleep(0.02)
            assert ("busy", "quiet") in broker.asked
            cluster.topics["quiet"].partitions.append(type(cluster.topics["quiet"].partitions[0])(leader=1))
            rig.send(b"2", topic="quiet")
            await rig.until(lambda: broker.asked[-1] == ("busy", "quiet"))
            await rig.idle()
            assert lines_of(cluster.log("quiet")) == [b"1", b"2"]
            await rig.until(lambda: rig.leaders["quiet"] == b"\1\1")

    run(scenario())


def test_metadata_is_refreshed_at_its_age() -> None:
    async def scenario() -> None:
        for age_ms in (50, 60_000):
            cluster = FakeCluster(topics={"t": 1})
            broker = cluster.brokers[1]
            async with running(cluster, metadata_max_age_ms=age_ms, retry_backoff_ms=1, retry_backoff_max_ms=1) as rig:
                rig.send(b"a")
                await rig.idle()
                if age_ms == 50:
                    before = broker.requests[METADATA]
                    await rig.until(lambda: broker.requests[METADATA] >= before + 4)  # noqa: B023 (awaited here)
                    times = [at for at, api in broker.arrivals if api == METADATA][before:]
                    assert min(later - earlier for earlier, later in pairwise(times)) > 0.045
                else:
                    await asyncio.sleep(0.3)
                    assert broker.requests[METADATA] <= 2

    run(scenario())


def test_a_silent_first_server_is_given_up_after_the_setup_timeout() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        cluster.brokers[1].control(API_VERSIONS, lambda _: SILENCE, times=2)
        async with running(cluster, request_timeout_ms=60_000, **FAST) as rig:
            rig.send(b"a")
            await rig.idle()
            arrivals = [at for at, api in cluster.brokers[1].arrivals if api == API_VERSIONS]
            assert 0.12 <= arrivals[1] - arrivals[0] < 10
            assert cluster.brokers[1].requests[PRODUCE] == 1

    run(scenario())
