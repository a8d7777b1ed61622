"""What a worker shows of brokers that it cannot get to: why, since when, no secret, and nothing once that is over."""

import asyncio
import logging
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ingestd.figures import Gauge, Reading, Trouble, read
from ingestd.producer.common import SystemClock
from ingestd.producer.network import connection
from ingestd.producer.network.broker import Broker
from ingestd.producer.network.security import Security
from tests.fakes.broker import API_VERSIONS, METADATA, PRODUCE, SILENCE, FakeCluster
from tests.fakes.sasl import Said, SaslServer
from tests.functional.producer_rig import Rig, running, settings
from tests.functional.security_kit import CANARY, Endpoint, World, again, bearer, login, plain_sasl, run
from tests.kafka.processes import free_ports


def reading(rig: Rig) -> Reading:
    """As the worker stores it once a second."""
    rig.producer.survey()
    found = read(rig.producer.meter.figures.pack(), ("t",))
    assert found.gauges[Gauge.BROKERS_UNREACHABLE] >= len(found.troubles)
    return found


def troubles(rig: Rig) -> tuple[Trouble, ...]:
    return reading(rig).troubles


def test_a_refused_login_shows_since_when_and_nothing_once_it_is_mended() -> None:
    async def scenario() -> None:
        sasl = SaslServer("PLAIN", users={"u": "other"})
        cluster = plain_sasl(sasl)
        async with running(cluster, **login("PLAIN", CANARY)) as rig:
            assert troubles(rig) == ()
            rig.send(b"a")
            await rig.until(lambda: troubles(rig))
            (first,) = troubles(rig)
            assert first.address == f"127.0.0.1:{cluster.brokers[1].port}"
            assert first.reason.startswith("login refused: SASL_AUTHENTICATION_FAILED: Authentication failed")
            assert first.reason.endswith(
                "Check sasl.username and sasl.password, and that the user exists for sasl.mechanism = PLAIN"
            )
            await rig.until(lambda: troubles(rig)[0].tried_tick_ms > first.tried_tick_ms)
            assert troubles(rig)[0].since_tick_ms == first.since_tick_ms
            sasl.users["u"] = CANARY
            await rig.idle()
            assert troubles(rig) == ()
            assert reading(rig).gauges[Gauge.BROKERS_UNREACHABLE] == 0
            cluster.brokers[1].cut()
            await rig.until(lambda: not rig.producer.brokers_connected)
            assert troubles(rig) == ()

    run(scenario())


class Parrot(SaslServer):
    """Refuses, and says what it was told."""

    def login(self) -> Any:
        entry = super().login()

        def authenticate(message: bytes) -> Said:
            return Said(58, f"who is {message.decode()}?", b"")

        entry.authenticate = authenticate  # type: ignore[method-assign]
        return entry


class Riddler(SaslServer):
    """The same, in the JSON of RFC 7628."""

    def login(self) -> Any:
        entry = super().login()
        entry._bearer = lambda message: Said(0, "", b'{"status":"%s"}' % message.split(b"\1")[1])  # type: ignore[method-assign]
        return entry


@pytest.mark.parametrize("mechanism", ["PLAIN", "OAUTHBEARER", "OAUTHBEARER in JSON"])
def test_a_broker_that_repeats_a_secret_is_not_quoted(
    mechanism: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        token = tmp_path / "token"
        token.write_text(CANARY)
        sasl = (Riddler if "JSON" in mechanism else Parrot)(mechanism.split()[0])
        plain = mechanism == "PLAIN"
        changes = login("PLAIN", CANARY) if plain else bearer(f"file://{token}")
        async with running(plain_sasl(sasl), **changes) as rig:
            rig.send(b"a")
            await rig.until(lambda: troubles(rig))
            (found,) = troubles(rig)
            assert "no reason given" in found.reason
            assert CANARY not in found.reason

    with caplog.at_level(logging.DEBUG):
        run(scenario())
    assert "cannot connect" in caplog.text
    assert CANARY not in caplog.text


def test_what_a_token_endpoint_says_is_shown() -> None:
    async def scenario() -> None:
        sasl = SaslServer("OAUTHBEARER")
        with Endpoint() as endpoint:
            endpoint.answers = [(401, {"error": "invalid_client"})]
            async with running(plain_sasl(sasl), **bearer(f"http://127.0.0.1:{endpoint.port}/token")) as rig:
                rig.send(b"a")
                await rig.until(lambda: troubles(rig))
                assert "HTTP status 401, invalid_client" in troubles(rig)[0].reason
                assert CANARY not in troubles(rig)[0].reason

    run(scenario())


def test_a_broker_that_does_not_answer_is_told_so() -> None:
    """Before the first answer, and behind it."""

    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        broker = cluster.brokers[1]
        for api_key in (API_VERSIONS, PRODUCE):
            broker.control(api_key, lambda _: SILENCE, times=1)
        limits = {"socket_connection_setup_timeout_ms": 150, "request_timeout_ms": 150}
        async with running(cluster, reconnect_backoff_ms=100, reconnect_backoff_max_ms=100, **limits) as rig:
            rig.send(b"a")
            await rig.until(lambda: any("did not answer in" in found.reason for found in troubles(rig)))
            await rig.until(lambda: any("request.timeout.ms = 150" in found.reason for found in troubles(rig)))
            await rig.idle()
            assert troubles(rig) == ()

    run(scenario())


def test_a_listener_that_wants_a_login_is_told_although_it_lets_connect() -> None:
    async def scenario() -> None:
        cluster = plain_sasl(SaslServer("PLAIN", users={"u": "p"}))
        async with running(cluster) as rig:
            rig.send(b"a")
            await rig.until(lambda: any("at the first request" in found.reason for found in troubles(rig)))
            (first,) = troubles(rig)
            connections = cluster.brokers[1].connections
            while cluster.brokers[1].connections < connections + 5:
                (found,) = troubles(rig)
                assert (found.reason, found.since_tick_ms) == (first.reason, first.since_tick_ms)
                assert rig.producer.brokers_connected == 0
                await asyncio.sleep(0.001)

    run(scenario())


def test_a_login_that_is_not_wanted_any_more_ends_the_trouble_with_the_first_answer() -> None:
    async def scenario() -> None:
        cluster = plain_sasl(SaslServer("PLAIN", users={"u": "p"}))
        async with running(cluster) as rig:
            rig.send(b"a")
            await rig.until(lambda: troubles(rig))
            cluster.brokers[1].sasl = None
            await rig.idle()
            assert troubles(rig) == ()
            assert rig.producer.brokers_connected == 1

    run(scenario())


def test_without_answers_to_records_a_trouble_ends_where_the_broker_leaves_the_connection_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "SETTLED_MS", 100)

    async def scenario() -> None:
        cluster = FakeCluster(nodes=2, topics={"t": 1})
        await cluster.start()
        leader, other = cluster.brokers.values()
        rig = Rig((f"127.0.0.1:{other.port}",), acks=0, enable_idempotence=False)
        try:
            await again(rig, b"a")
            await leader.stop()
            await rig.until(lambda: troubles(rig))  # else the record is gone with the connection
            rig.send(b"b")
            await rig.until(lambda: any("refused" in found.reason for found in troubles(rig)))
            await leader.start()
            await rig.until(lambda: not troubles(rig))
            assert leader.requests[METADATA] == 0
        finally:
            await rig.close()
            await cluster.stop()

    run(scenario())


def test_a_certificate_that_is_not_trusted_shows(tmp_path: Path) -> None:
    async def scenario() -> None:
        world, other = World(tmp_path), World(tmp_path / "other")
        async with running(world.cluster(), **{**world.trusting, "ssl_truststore_location": str(other.ca)}) as rig:
            rig.send(b"a")
            await rig.until(lambda: any("its certificate is not trusted" in found.reason for found in troubles(rig)))

    (tmp_path / "other").mkdir()
    run(scenario())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_connections_that_end_by_design_or_come_back_are_no_trouble(tls: bool, tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        cluster = world.cluster() if tls else FakeCluster(topics={"t": 1})
        changes: dict[str, Any] = world.trusting if tls else {}
        async with running(cluster, connections_max_idle_ms=100, request_timeout_ms=500, **changes) as rig:
            await again(rig, b"a")
            connections = cluster.brokers[1].connections
            await rig.until(lambda: not rig.producer.brokers_connected)
            assert troubles(rig) == ()
            await again(rig, b"b")
            assert cluster.brokers[1].connections > connections
            for end in (cluster.brokers[1].cut, cluster.brokers[1].hang_up):
                end()
                await rig.until(lambda: not rig.producer.brokers_connected)
                assert troubles(rig) == ()
                await again(rig, b"c")
            assert troubles(rig) == ()

    run(scenario())


@pytest.mark.parametrize("place", range(4))
def test_a_bootstrap_server_that_is_away_is_no_trouble_once_another_has_answered(place: int) -> None:
    """In whatever order they are tried, one that is away is met first three times of four."""

    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        await cluster.start()
        away = [f"127.0.0.1:{port}" for port in free_ports(3)]
        limits: dict[str, Any] = {"connections_max_idle_ms": 500, "request_timeout_ms": 500}
        rig = Rig((*away[:place], *cluster.bootstrap, *away[place:]), **limits)
        try:
            await again(rig, b"a")
            await rig.until(lambda: rig.producer.brokers_connected)
            await asyncio.sleep(0.1)  # attempts that were under way beside it have ended
            assert troubles(rig) == ()
            await rig.until(lambda: not rig.producer.brokers_connected)
            assert troubles(rig) == ()
        finally:
            await rig.close()
            await cluster.stop()

    run(scenario())


@pytest.mark.parametrize("nodes", [1, 3])
def test_a_login_that_is_mended_is_noticed_although_nothing_is_sent(
    nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All connections end with the renewal of their logins; metadata is fresh, and no record waits."""
    monkeypatch.setattr(connection, "SETTLED_MS", 100)

    async def scenario() -> None:
        sasl = SaslServer("PLAIN", users={"u": "p"}, lifetime_ms=1200)
        topics = [f"t{node}" for node in range(1, nodes + 1)]
        cluster = FakeCluster(nodes, topics=dict.fromkeys(topics, 1))
        for node, (topic, broker) in enumerate(zip(topics, cluster.brokers.values(), strict=True), 1):
            cluster.move(topic, 0, node)
            broker.sasl = sasl
        async with running(cluster, topics=tuple(topics), **login("PLAIN")) as rig:
            for topic in topics:
                rig.send(b"a", topic=topic)
            await rig.idle()
            sasl.users["u"] = "other"
            await rig.until(lambda: len(troubles(rig)) == nodes and not rig.producer.brokers_connected)
            sasl.users["u"] = "p"
            await rig.until(lambda: not troubles(rig) and rig.producer.brokers_connected, 15)

    run(scenario())


class Nobody:
    """Owns connections that it does nothing with."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def test_a_broker_that_came_back_and_was_asked_nothing_is_no_trouble() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        (port,) = free_ports(1)
        wanted = settings((f"127.0.0.1:{port}",), connections_max_idle_ms=100, request_timeout_ms=100)
        loop, clock, random = asyncio.get_running_loop(), SystemClock(), Random(1)
        security = Security(wanted, loop, clock, random)
        broker = Broker(1, "127.0.0.1", port, wanted, Nobody(), loop, clock, random, security, "c", "1")

        async def attempt() -> str:
            broker.want()
            await broker.wait_attempt()
            return broker.trouble.reason if broker.trouble else ""

        try:
            assert await attempt() == "Connection refused"
            await cluster.start()
            broker.port = cluster.brokers[1].port
            assert await attempt() == "Connection refused", "it may end the connection at the first request"
            made = broker.connection
            async with asyncio.timeout(5):
                while broker.connection is made is not None:  # noqa: ASYNC110 (it tells nobody)
                    await asyncio.sleep(0.01)
            assert broker.trouble is None
        finally:
            broker.close()
            await cluster.stop()

    run(scenario())


def test_of_many_brokers_some_are_named_and_all_are_counted() -> None:
    async def scenario() -> None:
        rig = Rig(tuple(f"127.0.0.1:{port}" for port in free_ports(6)))
        try:
            await rig.until(lambda: reading(rig).gauges[Gauge.BROKERS_UNREACHABLE] == 6)
            found = troubles(rig)
        finally:
            await rig.close()
        assert len(found) == 4
        assert {trouble.reason for trouble in found} == {"Connection refused"}
        assert len({trouble.address for trouble in found}) == 4

    run(scenario())


def test_metadata_that_sends_us_nowhere_shows_where() -> None:
    """The bootstrap server answers; the address that it advertises does not (advertised.listeners)."""

    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            port = cluster.brokers[1].port
            (cluster.brokers[1].port,) = free_ports(1)
            rig.send(b"a")
            await rig.until(lambda: troubles(rig))
            assert [trouble.address for trouble in troubles(rig)] == [f"127.0.0.1:{cluster.brokers[1].port}"]
            assert rig.producer.brokers_connected == 1
            cluster.brokers[1].port = port
            await rig.idle()
            await rig.until(lambda: not troubles(rig))
            assert cluster.brokers[1].requests[METADATA] > 1

    run(scenario())
