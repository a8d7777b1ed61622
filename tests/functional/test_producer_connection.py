"""Connections of the producer: socket options, idling, peers that are silent, away, or speak something else."""

import asyncio
import logging
import socket
import struct
import time
from collections.abc import Coroutine
from random import Random
from typing import Any

import pytest
import uvloop

from ingestd.kafka.session import State
from ingestd.producer import batch_producer
from ingestd.producer import sender as sender_module
from ingestd.producer.network import broker as broker_module
from ingestd.producer.network import brokers as brokers_module
from ingestd.producer.network.broker import Phase
from ingestd.producer.network.connection import Connection
from tests.fakes.broker import API_VERSIONS, CLOSE, METADATA, PRODUCE, SILENCE, FakeCluster
from tests.functional.producer_rig import Rig, Standing, lines_of, running


def run(scenario: Coroutine[Any, Any, None]) -> None:
    uvloop.run(scenario)


def test_buffers_are_set_before_connecting_and_nagle_is_off() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, send_buffer_bytes=65536, receive_buffer_bytes=40000) as rig:
            rig.send(b"a")
            await rig.idle()
            connection = rig.producer._brokers.by_node[1].connection
            assert connection is not None
            assert connection._transport is not None
            sock = connection._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 65536
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * 40000
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    run(scenario())


def test_a_buffer_that_the_kernel_capped_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "_warned", set())

    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, send_buffer_bytes=1 << 30) as rig:
            rig.send(b"a")
            await rig.idle()

    with caplog.at_level(logging.WARNING):
        run(scenario())
    assert caplog.text.count("send.buffer.bytes = 1073741824 was capped") == 1
    assert "net.core.wmem_max" in caplog.text


def test_an_idle_connection_is_closed_and_comes_back_when_needed() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, connections_max_idle_ms=200, request_timeout_ms=100) as rig:
            rig.send(b"a")
            await rig.idle()
            await rig.until(lambda: rig.producer.brokers_connected == 0)
            rig.send(b"b")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a", b"b"]

    run(scenario())


def test_a_peer_that_has_gone_already_leaves_no_descriptor_that_is_closed_twice() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            rig.send(b"a")
            await rig.idle()
            broker = rig.producer._brokers.by_node[1]
            with socket.create_server(("127.0.0.1", 0)) as server:
                sock = socket.create_connection(server.getsockname())
                peer, _ = server.accept()
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.close()
            sock.setblocking(False)
            transport, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(broker, "client", "1"), sock=sock
            )
            await rig.until(lambda: connection.session.state is State.CLOSED)
            await asyncio.sleep(0)
            assert transport.is_closing()
            assert sock.fileno() == -1

    run(scenario())


@pytest.mark.parametrize("api_key", [API_VERSIONS, METADATA])
@pytest.mark.parametrize("fault", [CLOSE, SILENCE, b"", b"\xff" * 40], ids=["close", "silence", "empty", "garbage"])
def test_a_bad_first_conversation_is_tried_again(api_key: int, fault: Any) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        cluster.brokers[1].control(api_key, lambda _: fault, times=2)
        changes = {"request_timeout_ms": 100, "socket_connection_setup_timeout_ms": 100}
        async with running(cluster, **changes) as rig:
            rig.send(b"a")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a"]

    run(scenario())


def test_an_unreadable_produce_answer_leaves_the_batch_in_doubt_and_it_is_sent_again() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            cluster.brokers[1].control(PRODUCE, lambda request: request.handle()[:9])
            for line in (b"a", b"b"):
                rig.send(line)
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a", b"b"]

    run(scenario())


def test_a_partition_left_out_of_the_answer_is_not_forgotten() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            # no topics, no throttle, no tags
            cluster.brokers[1].control(PRODUCE, lambda _: b"\1" + bytes(4) + b"\0")
            rig.send(b"a")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a"]

    run(scenario())


def test_a_peer_that_is_no_broker_costs_little_and_the_next_bootstrap_server_is_taken() -> None:
    async def scenario() -> None:
        visits = 0

        async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal visits
            visits += 1
            await reader.read(100)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(web, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with FakeCluster(topics={"t": 1}) as cluster:
            rig = Rig((f"127.0.0.1:{port}",))
            rig.send(b"a")
            began = time.monotonic()
            await asyncio.sleep(0.5)
            await rig.until(lambda: visits > 2)
            assert visits < 60 * (time.monotonic() - began) / 0.5
            await rig.close()
            rig = Rig((f"127.0.0.1:{port}", *cluster.bootstrap))
            rig.send(b"a")
            await rig.idle()
            await rig.close()
            assert lines_of(cluster.log("t")) == [b"a"]
        server.close()

    run(scenario())


def test_a_broker_that_moves_to_another_port_is_followed() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(nodes=2, topics={"t": 1})
        async with running(cluster, metadata_max_age_ms=100) as rig:
            rig.send(b"a")
            await rig.idle()
            broker = cluster.brokers[1]
            await broker.stop()
            broker.port = 0
            await broker.start()
            rig.send(b"b")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a", b"b"]

    run(scenario())


def test_a_slow_partition_is_held_once_the_arena_runs_short() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(nodes=2, topics={"t": 2})
        changes = {"partitions": 2, "request_timeout_ms": 60_000, "buffer_memory": 1 << 20, "batch_size": 4000}
        async with running(cluster, **changes) as rig:
            held: list[tuple[int, int, bool]] = []
            real = rig.intake

            class Watched:
                def hold(self, *arguments: Any) -> None:
                    held.append(arguments)
                    real.hold(*arguments)

                def __getattr__(self, name: str) -> Any:
                    return getattr(real, name)

            rig.producer._attachments[rig.arena].intake = Watched()
            cluster.brokers[2].control(PRODUCE, lambda _: SILENCE)
            for number in range(3000):
                if rig.arena.level > 0.85 or held:
                    break
                rig.send(b"%d" % number + b"." * 3900)
                await asyncio.sleep(0.001)
            await rig.until(lambda: held, 10)
            assert held == [(0, 1, True)]
            cluster.brokers[2].cut()
            await rig.idle()
            await rig.until(lambda: len(held) == 2)
            assert held[1] == (0, 1, False)

    run(scenario())


def test_with_one_request_in_flight_a_batch_waits_only_for_the_metadata_answer() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, max_in_flight_requests_per_connection=1) as rig:
            rig.send(b"a")
            await rig.idle()
            broker = cluster.brokers[1]
            asked = broker.requests[METADATA]
            broker.delay_s = 0.1
            rig.producer._brokers.refresh()
            await rig.until(lambda: broker.requests[METADATA] > asked)
            broker.delay_s = 0
            rig.send(b"b")
            await rig.idle(2)
            assert lines_of(cluster.log("t")) == [b"a", b"b"]

    run(scenario())


@pytest.mark.parametrize("shuffled", range(4))
def test_a_host_name_that_no_resolver_takes_is_a_server_that_is_away(
    shuffled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_producer, "Random", lambda _: Random(shuffled))

    async def scenario() -> None:
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        async with FakeCluster(topics={"t": 1}) as cluster:
            rig = Rig(("kafka..svc:9092", *cluster.bootstrap))
            rig.send(b"a")
            await rig.idle()
            await rig.close()
            assert lines_of(cluster.log("t")) == [b"a"]
            assert faults == []

    run(scenario())


def test_an_unforeseen_fault_while_connecting_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(broker_module.Broker, "_open", broken)

    async def scenario() -> None:
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        rig = Rig(("127.0.0.1:9",))
        await rig.until(lambda: faults)
        assert isinstance(faults[0]["exception"], ZeroDivisionError)
        await rig.close()

    run(scenario())


def test_a_broker_that_a_hint_finds_elsewhere_takes_its_other_partitions_along() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(nodes=2, topics={"a": 1, "b": 1})
        cluster.move("b", 0, 2)
        async with running(cluster, topics=("a", "b")) as rig:
            for topic in ("a", "b"):
                rig.send(b"1", topic=topic)
            await rig.idle()
            second = cluster.brokers[2]
            await second.stop()
            second.port = 0
            await second.start()
            await rig.until(lambda: rig.producer.brokers_connected == 1)
            cluster.move("a", 0, 2)
            rig.send(b"2", topic="a")
            await rig.idle()
            rig.send(b"2", topic="b")
            await rig.idle(2)
            assert [lines_of(cluster.log(topic)) for topic in ("a", "b")] == [[b"1", b"2"], [b"1", b"2"]]

    run(scenario())


@pytest.mark.parametrize("fenced", [True, False], ids=["gone from metadata", "still listed"])
def test_a_leader_that_falls_silent_is_left_for_its_successor_long_before_the_request_timeout(
    fenced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (brokers_module, sender_module):
        monkeypatch.setattr(module, "SILENT_MS", 300)
    monkeypatch.setattr(batch_producer, "HOUSEKEEPING_MS", 100)

    async def scenario() -> None:
        cluster = FakeCluster(nodes=2, topics={"t": 1, "u": 1})
        cluster.move("u", 0, 2)
        async with running(cluster, topics=("t", "u"), request_timeout_ms=60_000) as rig:
            for topic in ("t", "u"):
                rig.send(b"0", topic=topic)
            await rig.idle()
            old = cluster.brokers[1]
            old.control(PRODUCE, lambda request: (request.handle(), SILENCE)[1])
            for number in range(1, 9):
                rig.send(b"%d" % number)
            await rig.until(lambda: len(cluster.log("t").batches) > 1)
            cluster.move("t", 0, 2)
            if fenced:
                del cluster.brokers[1]
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"%d" % number for number in range(9)]
            assert rig.arena.ledger()["possible_duplicates"] == 0
            cluster.brokers[1] = old

    run(scenario())


def test_a_leader_that_no_connection_can_be_made_to_is_left_for_its_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (brokers_module, sender_module):
        monkeypatch.setattr(module, "SILENT_MS", 300)
    monkeypatch.setattr(batch_producer, "HOUSEKEEPING_MS", 100)

    async def scenario() -> None:
        cluster = FakeCluster(nodes=2, topics={"t": 1, "u": 1})
        cluster.move("u", 0, 2)
        limits = ("request_timeout_ms", "socket_connection_setup_timeout_ms", "socket_connection_setup_timeout_max_ms")
        async with running(cluster, topics=("t", "u"), **dict.fromkeys(limits, 60_000)) as rig:
            for topic in ("t", "u"):
                rig.send(b"0", topic=topic)
            await rig.idle()
            old, other = cluster.brokers[1], cluster.brokers[2]
            old.control(API_VERSIONS, lambda _: SILENCE, times=10)
            old.cut()
            rig.send(b"1")
            await rig.until(lambda: rig.producer._brokers.by_node[1].phase is Phase.CONNECTING)
            await asyncio.sleep(0.2)
            asked, began = other.requests[METADATA], time.monotonic()
            cluster.move("t", 0, 2)
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"0", b"1"]
            assert other.requests[METADATA] <= asked + 3 + (time.monotonic() - began) / 0.3

    run(scenario())


def test_brokers_that_are_all_slow_cost_no_storm_of_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (brokers_module, sender_module):
        monkeypatch.setattr(module, "SILENT_MS", 100)
    monkeypatch.setattr(batch_producer, "HOUSEKEEPING_MS", 50)

    async def scenario() -> None:
        cluster = FakeCluster(nodes=2, topics={"t": 1, "u": 1})
        cluster.move("u", 0, 2)
        async with running(cluster, topics=("t", "u"), request_timeout_ms=60_000) as rig:
            for topic in ("t", "u"):
                rig.send(b"first", topic=topic)
            await rig.idle()
            nodes = list(cluster.brokers.values())
            made = sum(broker.connections for broker in nodes)
            for broker in nodes:
                broker.delay_s_of[PRODUCE] = 0.3
            for number in range(150):
                for topic in ("t", "u"):
                    rig.send(b"%d" % number, topic=topic)
                await asyncio.sleep(0.02)
            for broker in nodes:
                broker.delay_s_of.clear()
            await rig.idle(20)
            assert sum(broker.connections for broker in nodes) <= made + 2

    run(scenario())


NO_ANSWERS: dict[str, Any] = {"acks": 0, "enable_idempotence": False}


def test_without_answers_what_counts_as_delivered_is_still_sent_at_the_end() -> None:
    async def scenario() -> None:
        async with FakeCluster(topics={"t": 1}) as cluster:
            rig = Rig(cluster.bootstrap, buffer_memory=32 << 20, **NO_ANSWERS)
            rig.send(b"first")
            await rig.idle()
            cluster.brokers[1].delay_s = 0.02
            for _ in range(60):
                rig.send(b"x" * 100_000)
            assert await rig.producer.close(30_000)
            assert rig.arena.ledger()["delivered"] == 61
            rig.arena.close()
            await rig.until(lambda: len(lines_of(cluster.log("t"))) == 61)
            await rig.close()

    run(scenario())


def test_a_stop_that_does_not_wait_leaves_no_view_behind_without_answers() -> None:
    async def scenario() -> None:
        async with FakeCluster(topics={"t": 1}) as cluster:
            rig = Rig(cluster.bootstrap, buffer_memory=32 << 20, **NO_ANSWERS)
            rig.send(b"first")
            await rig.idle()
            cluster.brokers[1].delay_s = 5
            for _ in range(250):
                rig.send(b"x" * 100_000)
            await asyncio.sleep(0.05)
            assert not await rig.producer.close(0)
            rig.arena.close()
            await rig.close()

    run(scenario())


def test_without_answers_a_connection_in_use_is_not_idle() -> None:
    async def scenario() -> None:
        clock = Standing()
        cluster = FakeCluster(topics={"t": 1})
        # what is idle is looked at after every request timeout at the latest; time stands still, so none passes
        changes = {"connections_max_idle_ms": 150, "request_timeout_ms": 20, **NO_ANSWERS}
        async with running(cluster, producer_clock=clock, **changes) as rig:
            clock.stand()
            rig.send(b"0")
            await rig.until(lambda: lines_of(cluster.log("t")))
            connection = rig.producer._brokers.by_node[1].connection
            assert connection is not None

            async def pass_by(passed_ms: int) -> None:
                """So much time, and a look at it."""
                assert clock.stood_ms is not None
                clock.stood_ms += passed_ms
                timer = connection._timer
                await rig.until(lambda: connection._timer is not timer)

            for number in range(1, 8):
                await pass_by(100)
                rig.send(b"%d" % number)
                await rig.until(lambda number=number: len(lines_of(cluster.log("t"))) == number + 1)  # type: ignore[misc]
            assert not connection.closing
            assert rig.producer._brokers.by_node[1].connection is connection
            await pass_by(100)
            assert not connection.closing
            await pass_by(100)
            assert connection.closing, "once it is idle"

    run(scenario())
