"""OAUTHBEARER on a real broker: tokens from a file and from an endpoint, their ends, renewals, and refusals."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ingestd.producer import Producer, ProducerRecord
from tests.certificates import Authority
from tests.kafka.cluster import Cluster
from tests.kafka.daemon import Daemon
from tests.kafka.leaks import commands_with, places_with
from tests.kafka.load import LineSender, make_lines
from tests.kafka.oauth import CLIENT_ID, Issuer, TokenEndpoint, put, unsigned_properties, unsigned_token
from tests.kafka.processes import free_ports
from tests.kafka.reader import judge, read_until
from tests.kafka.secure import tls_properties
from tests.kafka.test_end_to_end import line_listener
from tests.kafka.test_security import logins, shown

ENDLESS = 1 << 40
RATE = 500.0
TOKEN_SECONDS = 5.0
REFRESH_FACTOR = 0.5
"""A login with a token that ends within a second cannot be renewed in time: brokers refuse that (KafkaChannel)."""
OVER_SECONDS = 1.3 * TOKEN_SECONDS
"""The first token has ended by then."""
RENEWED = 4
RENEWED_SECONDS_MAX = 15.0
SECRET = "canary-90fe21-secret"


class World(NamedTuple):
    """CLIENTS takes signed tokens over TLS, UNSIGNED any token in plain text. Logins live for three seconds at most,
    and no longer than their tokens.
    """

    cluster: Cluster
    issuer: Issuer
    ca: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("oauth")
    authority, issuer, stores = Authority(), Issuer(folder / "issuer"), folder / "stores"
    properties = {
        **tls_properties("CLIENTS", authority.issue(), stores),
        **issuer.properties("CLIENTS", connections_max_reauth_ms="3000"),
        **unsigned_properties("UNSIGNED", connections_max_reauth_ms="3000"),
    }
    cluster = Cluster(
        folder / "kafka",
        protocol="SASL_SSL",
        listeners={"UNSIGNED": "SASL_PLAINTEXT"},
        properties=properties,
        java_options=issuer.allowed,
    )
    try:
        cluster.start()
        yield World(cluster, issuer, authority.pem(stores / "ca.pem"))
    finally:
        cluster.stop()


class Flow:
    """A daemon with one worker that logs in with tokens, and records that go through it until ``end``."""

    def __init__(
        self, make_daemon: Callable[..., Daemon], bootstrap: str, topic: str, producer: dict[str, Any], seed: int
    ) -> None:
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        self.topic = topic
        self.daemon = make_daemon(
            bootstrap,
            [line_listener(topic)],
            topics={topic: {"partitions": 2}},
            producer={
                "sasl.mechanism": "OAUTHBEARER",
                "sasl.login.refresh.window.factor": REFRESH_FACTOR,
                **producer,
            },
            settings={"admin.listen": self.address},
            workers=1,
        )
        self.daemon.start(log_level="debug")
        path = f"{self.daemon.sockets}/lines"
        self._sender = LineSender(path, make_lines("a", ENDLESS, seed=seed), rate=RATE)
        self._sender.start()

    def logins(self) -> dict[str, int]:
        return logins(self.address)

    def end(self, cluster: Cluster) -> None:
        """Every record must be there, once and in order, as an independent client reads it."""
        sent = {"a": self._sender.finish(now=True)}
        total = len(sent["a"])
        books = self.daemon.wait_settled(total)
        assert (books["delivered"], books["possible_duplicates"]) == (total, 0)
        verdict = judge(sent, read_until(cluster.direct, self.topic, total, 60))
        assert verdict.clean, verdict


@pytest.mark.soak  # the endpoint's renewals are shown below; what differs is where tokens come from
def test_tokens_of_a_file_are_renewed_with_the_login_while_records_flow(
    world: World, make_daemon: Callable[..., Daemon], topic_name: str, tmp_path: Path, seed: int
) -> None:
    cluster = world.cluster
    cluster.create_topic(topic_name, 2)
    path, tokens = tmp_path / "token", [unsigned_token(TOKEN_SECONDS)]
    put(path, tokens[0])
    producer = {"security.protocol": "SASL_PLAINTEXT", "sasl.oauthbearer.token.endpoint.url": path.as_uri()}
    flow = Flow(make_daemon, f"127.0.0.1:{cluster.port_of('UNSIGNED')}", topic_name, producer, seed)
    ends = time.monotonic() + OVER_SECONDS
    while time.monotonic() < ends or flow.logins()["renewed"] < RENEWED:
        assert time.monotonic() < ends + RENEWED_SECONDS_MAX, flow.logins()
        time.sleep(TOKEN_SECONDS / 4)
        tokens.append(unsigned_token(TOKEN_SECONDS))
        put(path, tokens[-1])
    found = flow.logins()
    assert (found["refused"], found["not renewed"]) == (0, 0)
    # one for the bootstrap server, one for the broker: neither was closed and made anew
    assert found["in"] == 2
    flow.end(cluster)
    assert [place for token in tokens for place in places_with(token, flow.daemon)] == []


def of_endpoint(world: World, endpoint: TokenEndpoint) -> dict[str, Any]:
    """[producer]: TLS, and tokens of ``endpoint``."""
    return {
        "security.protocol": "SASL_SSL",
        "ssl.truststore.location": str(world.ca),
        "sasl.oauthbearer.token.endpoint.url": endpoint.url,
        "sasl.oauthbearer.client.credentials.client.id": CLIENT_ID,
        "sasl.oauthbearer.client.credentials.client.secret": SECRET,
    }


def test_tokens_of_an_endpoint_are_renewed_with_the_login_over_tls(
    world: World, make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    cluster = world.cluster
    cluster.create_topic(topic_name, 2)
    with TokenEndpoint(world.issuer, SECRET, TOKEN_SECONDS) as endpoint:
        flow = Flow(make_daemon, cluster.bootstrap, topic_name, of_endpoint(world, endpoint), seed)
        time.sleep(OVER_SECONDS)
        flow.daemon.wait_for(lambda: flow.logins()["renewed"] >= RENEWED, RENEWED_SECONDS_MAX, "renewed logins")
        found = flow.logins()
        assert (found["refused"], found["not renewed"], found["in"]) == (0, 0, 2)
        # each is used until it is nearly over: logins of two connections need no token each
        assert 3 <= len(endpoint.issued) < found["renewed"] + found["in"]
        assert endpoint.refused == 0
        flow.end(cluster)
        for secret in (SECRET, *endpoint.issued):
            assert places_with(secret, flow.daemon) == []
        assert commands_with(SECRET, flow.daemon) == []


def test_a_program_renews_its_tokens_as_the_daemon_does(world: World, topic_name: str) -> None:
    """The library, with nothing set but who it is and an early renewal: the login outlives its first token."""
    cluster = world.cluster
    cluster.create_topic(topic_name, 2)
    with TokenEndpoint(world.issuer, SECRET, TOKEN_SECONDS) as endpoint:
        settings: dict[str, object] = {
            "bootstrap.servers": cluster.bootstrap,
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.login.refresh.window.factor": REFRESH_FACTOR,
            **of_endpoint(world, endpoint),
        }
        with Producer(settings) as producer:
            ends, sent = time.monotonic() + OVER_SECONDS, 0
            while time.monotonic() < ends:
                assert producer.send(ProducerRecord(topic_name, f"{sent}")).result(10).offset >= 0
                sent += 1
                time.sleep(0.02)
            assert producer.metrics()["successful-reauthentication-total"] >= 1
        assert (len(endpoint.issued) >= 2, endpoint.refused) == (True, 0)
    found = read_until(cluster.direct, topic_name, sent)
    assert sorted(int(record.value or b"-1") for record in found) == list(range(sent))


@pytest.mark.soak
def test_an_endpoint_that_refuses_and_comes_back_is_told_and_nothing_is_lost(
    world: World, make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    """The client's secret is changed while records flow: the login cannot be renewed, and ends with its token."""
    cluster = world.cluster
    cluster.create_topic(topic_name, 2)
    with TokenEndpoint(world.issuer, SECRET, TOKEN_SECONDS) as endpoint:
        producer = of_endpoint(world, endpoint) | {"sasl.login.retry.backoff.max.ms": 500}
        flow = Flow(make_daemon, cluster.bootstrap, topic_name, producer, seed)
        daemon = flow.daemon
        daemon.wait_for(lambda: daemon.ledger()["delivered"] > 0, 15, "records delivered")
        endpoint.secret = "another"
        daemon.wait_for(lambda: shown(daemon) != [], 20, "a trouble")
        (found,) = shown(daemon)
        assert "HTTP status 401, invalid_client: who are you" in found["reason"]
        assert "the token could not be renewed yet" in daemon.log.read_text()
        endpoint.secret = SECRET
        daemon.wait_for(lambda: shown(daemon) == [], 15, "no trouble any more")
        flow.end(cluster)


REFUSAL = (
    r"login refused: SASL_AUTHENTICATION_FAILED: invalid_token{also}\. Check sasl\.oauthbearer\.\* here and the"
    r" broker's expected audience, issuer and clock"
)
REFUSED: dict[str, Callable[[Issuer, Path], str]] = {
    "ended": lambda issuer, _: issuer.token(-5),
    "signed by somebody else": lambda _, folder: Issuer(folder / "else").token(600),
    "no JWT": lambda *_: "opaque-token",
}


def test_refused_tokens_are_told_without_them_and_a_good_one_mends_it(
    world: World, make_daemon: Callable[..., Daemon], topic_name: str, tmp_path: Path, seed: int
) -> None:
    cluster = world.cluster
    cluster.create_topic(topic_name, 2)
    path = tmp_path / "token"
    tokens = {name: make(world.issuer, tmp_path) for name, make in REFUSED.items()}
    put(path, world.issuer.token(600, aud="elsewhere"))
    producer = {
        "security.protocol": "SASL_SSL",
        "ssl.truststore.location": str(world.ca),
        "sasl.oauthbearer.token.endpoint.url": path.as_uri(),
        "reconnect.backoff.max.ms": 200,
    }
    flow = Flow(make_daemon, cluster.bootstrap, topic_name, producer, seed)
    daemon = flow.daemon
    for name, token in tokens.items():
        put(path, token)
        before = flow.logins()["refused"]
        # the one that is under way may still have the token of before
        daemon.wait_for(lambda before=before: flow.logins()["refused"] > before + 1, 20, name)  # type: ignore[misc]
        (found,) = shown(daemon)
        also = r"; the token ended at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ" if name == "ended" else ""
        assert re.fullmatch(REFUSAL.format(also=also), found["reason"]), (name, found)
    assert flow.logins()["in"] == 0
    put(path, world.issuer.token(600))
    daemon.wait_for(lambda: shown(daemon) == [], 15, "no trouble any more")
    flow.end(cluster)
    for token in tokens.values():
        assert places_with(token, daemon) == []
