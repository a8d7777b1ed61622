"""What settings do that have no test of their own elsewhere; ``tests/effects.py`` names the test of each setting."""

import base64
import re
import socket
import struct
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import uvloop

from ingestd.client import Producer, ProducerRecord
from ingestd.config import settings
from ingestd.scoreboard import Pressure
from tests import effects
from tests.documents import ROOT
from tests.fakes.broker import API_VERSIONS, PRODUCE, SILENCE, FakeCluster, error
from tests.fakes.sasl import SaslServer
from tests.fakes.threaded import scripted
from tests.functional.producer_rig import TRIES, assert_gaps, running
from tests.functional.security_kit import CANARY, Endpoint, bearer, plain_sasl
from tests.functional.test_producer_bootstrap import swallowing
from tests.kafka.daemon import Daemon, Setting

APP: dict[str, Setting] = {
    "name": "app",
    "listen": "unix-stream:{sockets}/app",
    "format": "frames",
    "topics": ["t", "u"],
}
LINGERS_MS = {"t": 0, "u": 600}
NOT_ENOUGH_REPLICAS = 19


def run(scenario: Coroutine[Any, Any, None]) -> None:
    uvloop.run(scenario)


@contextmanager
def daemon_at(folder: Path, bootstrap: str, *, workers: int = 1, **more: Any) -> Iterator[Daemon]:
    """A running daemon with one listener for frames; ended behind the test."""
    given = {"topics": {"t": {"partitions": 1}, "u": {"partitions": 1}}, **more}
    daemon = Daemon(folder, bootstrap, [APP], workers=workers, **given)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.close()


DOUBLING_TO_400_MS = [(0.08, 0.32), (0.16, 0.5), (0.32, 0.64), (0.32, 0.5)]
"""From 100 ms on, each 20 % more or less. Unbounded, the fourth would be 640 ms."""


# -- what the brokers see


@pytest.mark.parametrize("given", ["gateway-7", ""])
def test_client_id_and_the_worker_are_in_every_request(tmp_path: Path, given: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        producer = {"client.id": given} if given else {}
        with daemon_at(tmp_path, f"127.0.0.1:{server.getsockname()[1]}", workers=2, producer=producer):
            seen: set[str] = set()
            while len(seen) < 2:
                connection, _ = server.accept()
                with connection, connection.makefile("rb") as stream:
                    size = int.from_bytes(stream.read(4))
                    request = stream.read(size)
                    (length,) = struct.unpack_from(">h", request, 8)
                    seen.add(request[10 : 10 + length].decode())
    name = given or f"ingestd-{socket.gethostname()}"
    assert seen == {f"{name}-0", f"{name}-1"}


def test_linger_ms_is_how_long_a_record_waits_for_others(tmp_path: Path) -> None:
    took_s: dict[str, list[float]] = {"t": [], "u": []}
    topics: dict[str, dict[str, Setting]] = {
        name: {"partitions": 1, "linger.ms": ms} for name, ms in LINGERS_MS.items()
    }
    with (
        scripted(t=1, u=1) as cluster,
        daemon_at(tmp_path, cluster.bootstrap, topics=topics) as daemon,
        Producer(daemon.address("unix-stream:{sockets}/app")) as producer,
    ):
        for topic, seconds_max in (("t", 0.5), ("u", 2.0)):
            producer.send(ProducerRecord(topic, b"first")).result(30)
            while len(took_s[topic]) < TRIES and not any(each < seconds_max for each in took_s[topic]):
                began = time.monotonic()
                producer.send(ProducerRecord(topic, b"another")).result(30)
                took_s[topic].append(time.monotonic() - began)
    assert min(took_s["t"]) < 0.5
    assert 0.55 <= min(took_s["u"]) < 2.0


def test_batch_size_bounds_batches_that_have_time_to_fill(tmp_path: Path) -> None:
    sizes = {"t": 2_000, "u": 40_000}
    topics: dict[str, dict[str, Setting]] = {
        name: {"partitions": 1, "linger.ms": 1000, "batch.size": size} for name, size in sizes.items()
    }
    with scripted(t=1, u=1) as cluster, daemon_at(tmp_path, cluster.bootstrap, topics=topics) as daemon:
        with Producer(daemon.address("unix-stream:{sockets}/app")) as sender:
            for number in range(2_000):
                for topic in topics:
                    sender.send(ProducerRecord(topic, b"%090d" % number))
            sender.flush(30)
        found = cluster.call(
            lambda: {name: [len(batch.payload) for batch in cluster.cluster.log(name).batches] for name in sizes}
        )
    for topic, size in sizes.items():
        assert 0.8 * size <= max(found[topic]) + 61 <= size
        assert 2_000 * 100 / size <= len(found[topic]) <= 2_000 * 100 / size * 1.5 + 2


def test_retries_is_how_often_a_batch_is_sent_again() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        cluster.brokers[1].control(PRODUCE, error(NOT_ENOUGH_REPLICAS), times=10)
        async with running(cluster, retries=2) as rig:
            rig.send(b"a")
            await rig.idle()
            assert cluster.brokers[1].requests[PRODUCE] == 3
            assert rig.arena.ledger()["failed"] == 1
            assert [code for _, code, _ in rig.events.failed] == [NOT_ENOUGH_REPLICAS]

    run(scenario())


def test_the_setup_timeout_doubles_up_to_its_maximum() -> None:
    async def scenario() -> list[float]:
        cluster = FakeCluster(topics={"t": 1})
        cluster.brokers[1].control(API_VERSIONS, lambda _: SILENCE, times=5)
        limits = {"socket_connection_setup_timeout_ms": 100, "socket_connection_setup_timeout_max_ms": 400}
        async with running(cluster, reconnect_backoff_ms=1, reconnect_backoff_max_ms=1, **limits) as rig:
            rig.send(b"a")
            await rig.idle()
            times = [at for at, api in cluster.brokers[1].arrivals if api == API_VERSIONS]
        return [later - earlier for earlier, later in pairwise(times)]

    assert_gaps(scenario, DOUBLING_TO_400_MS)


# -- what the token endpoint sees


def test_the_token_endpoint_is_told_who_asks_and_for_what() -> None:
    async def scenario() -> None:
        sasl = SaslServer("OAUTHBEARER")
        sasl.tokens.add("token-1")
        with Endpoint() as endpoint:
            endpoint.answers = [(200, {"access_token": "token-1", "expires_in": 3600})]
            url = f"http://127.0.0.1:{endpoint.port}/token"
            async with running(plain_sasl(sasl), **bearer(url, sasl_oauthbearer_scope="kafka write")) as rig:
                rig.send(b"a")
                await rig.idle()
            assert endpoint.asked == ["grant_type=client_credentials&scope=kafka+write"]
            assert endpoint.logins == ["Basic " + base64.b64encode(f"me:{CANARY}".encode()).decode()]

    run(scenario())


def test_a_token_endpoint_that_fails_is_asked_again_by_the_formula() -> None:
    async def scenario() -> list[float]:
        with Endpoint() as endpoint:
            endpoint.answers = [(503, {})]
            pauses = {"sasl_login_retry_backoff_ms": 100, "sasl_login_retry_backoff_max_ms": 400}
            changes = bearer(f"http://127.0.0.1:{endpoint.port}/", **pauses)
            async with running(plain_sasl(SaslServer("OAUTHBEARER")), reconnect_backoff_max_ms=10, **changes) as rig:
                rig.send(b"a")
                await rig.until(lambda: len(endpoint.times) >= 5)
            return [later - earlier for earlier, later in pairwise(endpoint.times)]

    assert_gaps(scenario, DOUBLING_TO_400_MS)


def test_a_token_endpoint_that_cannot_be_reached_is_given_up_in_time(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        with swallowing() as (host, port):
            changes = bearer(f"http://{host}:{port}/", sasl_login_connect_timeout_ms=200)
            async with running(plain_sasl(SaslServer("OAUTHBEARER")), **changes) as rig:
                rig.send(b"a")
                await rig.until(lambda: "token endpoint" in caplog.text, 8)  # by default after 10
        assert "timed out" in caplog.text

    run(scenario())


def test_a_token_endpoint_that_is_silent_is_given_up_in_time(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            changes = bearer(url, sasl_login_read_timeout_ms=200)
            async with running(plain_sasl(SaslServer("OAUTHBEARER")), **changes) as rig:
                rig.send(b"a")
                await rig.until(lambda: "token endpoint" in caplog.text, 8)  # by default after 10
        assert "timed out" in caplog.text

    run(scenario())


# -- what senders feel


@pytest.mark.parametrize(("high", "pressure"), [(0.3, Pressure.PAUSE), (0.9, Pressure.RUN)])
def test_pressure_high_is_the_level_at_which_senders_wait(tmp_path: Path, high: float, pressure: Pressure) -> None:
    daemons: dict[str, Setting] = {"pressure.high": high, "pressure.low": high / 2, "stop.timeout.ms": 100}
    producer: dict[str, Setting] = {"buffer.memory": 8 << 20}
    with daemon_at(tmp_path, "127.0.0.1:9", settings=daemons, producer=producer) as daemon:
        with Producer(daemon.address("unix-stream:{sockets}/app"), answer="accepted") as sender:
            futures = [sender.send(ProducerRecord("t", bytes(50_000))) for _ in range(80)]
            for future in futures:
                future.result(30)
        deadline = time.monotonic() + 30
        while (found := daemon.status()["workers"][0])["pressure"] != pressure.name.lower():
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        assert 0.3 < found["arena"]["level"] < 0.9


def test_stop_timeout_ms_is_how_long_a_stop_waits_for_kafka(tmp_path: Path) -> None:
    with daemon_at(tmp_path, "127.0.0.1:9", settings={"stop.timeout.ms": 1000}) as daemon:
        with Producer(daemon.address("unix-stream:{sockets}/app"), answer="accepted") as sender:
            sender.send(ProducerRecord("t", b"kept")).result(30)
        began = time.monotonic()
        assert daemon.stop() == 0
        took_s = time.monotonic() - began
    assert 1.0 <= took_s < 20.0, "the default is half a minute"


# -- the table


@pytest.mark.parametrize("section", ["PRODUCER", "DAEMON", "LISTENER", "TOPIC"])
def test_every_setting_has_a_test_that_shows_what_it_does(section: str) -> None:
    table: dict[str, str] = getattr(effects, section)
    wanted = getattr(settings, section).keys() - (settings.PRODUCER.keys() if section == "TOPIC" else set())
    assert table.keys() == wanted
    for name, place in table.items():
        path, test = place.split("::")
        assert re.search(rf"^(?:async )?def {test}\(", (ROOT / "tests" / path).read_text(), re.M), (name, place)
