"""TLS over real sockets against the scripted broker: what gets through, what does not, what is said of it."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingestd.secret import Secret
from tests.certificates import Authority
from tests.fakes.broker import PRODUCE, SILENCE, FakeCluster
from tests.functional.producer_rig import Rig, lines_of, running
from tests.functional.security_kit import (
    CANARY,
    World,
    again,
    run,
    said_and_mended,
    server_context,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_records_go_through_tls(world: World) -> None:
    async def scenario() -> None:
        cluster = world.cluster()
        async with running(cluster, **world.trusting) as rig:
            for number in range(20):
                rig.send(b"%d" % number)
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"%d" % number for number in range(20)]

    run(scenario())


def test_views_of_the_arena_are_free_before_the_peer_has_read(world: World) -> None:
    """The broker reads nothing for a while: under TLS what waits is ciphertext, and no batch is held by it."""

    async def scenario() -> None:
        cluster = world.cluster()
        async with running(cluster, **world.trusting, buffer_memory=32 << 20, request_timeout_ms=60_000) as rig:
            rig.send(b"first")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, lambda _: SILENCE)
            for _ in range(60):
                rig.send(b"x" * 100_000)
            lane = next(iter(rig.producer._accumulator.lanes.values()))
            await rig.until(lambda: any(item.flying for item in lane.window))
            entries = [item.batch.entry for item in lane.window]
            assert [rig.arena.view_count(entry) for entry in entries] == [0] * len(entries)
            cluster.brokers[1].clear_controls()  # the cut may come before the request did
            cluster.brokers[1].cut()
            await rig.idle(10)
            assert len(lines_of(cluster.log("t"))) == 61

    run(scenario())


@pytest.mark.parametrize("kind", ["pem", "pem-encrypted", "pkcs12", "texts"])
def test_a_client_certificate_from_every_kind_of_store(world: World, kind: str) -> None:
    own = world.authority.issue("client")
    kinds: dict[str, Callable[[], dict[str, Any]]] = {
        "pem": lambda: {"ssl_keystore_location": str(own.pem(world.folder / "own.pem"))},
        "pem-encrypted": lambda: {
            "ssl_keystore_location": str(own.pem(world.folder / "own.pem", CANARY)),
            "ssl_key_password": Secret(CANARY),
        },
        "pkcs12": lambda: {
            "ssl_keystore_location": str(own.pkcs12(world.folder / "own.p12", CANARY)),
            "ssl_keystore_password": Secret(CANARY),
            "ssl_truststore_location": str(world.authority.pkcs12(world.folder / "trust.p12", CANARY)),
            "ssl_truststore_password": Secret(CANARY),
        },
        "texts": lambda: {
            "ssl_keystore_key": Secret(own.key_pem().decode()),
            "ssl_keystore_certificate_chain": Secret(own.chain_pem().decode()),
            "ssl_truststore_location": "",
            "ssl_truststore_certificates": Secret(world.ca.read_text()),
        },
    }
    changes = kinds[kind]()

    async def scenario() -> None:
        cluster = world.cluster(client_ca=world.ca)
        async with running(cluster, **{**world.trusting, **changes}) as rig:
            rig.send(b"a")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a"]

    run(scenario())


REFUSALS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "expired": (["its certificate has expired", "Renew it"], {}),
    "other host": (["for another host", "advertised.listeners"], {}),
    "other CA": (["its certificate is not trusted", "ssl.truststore.location"], {}),
    "wants a client certificate": (["ssl.keystore.location"], {}),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refused_handshake_is_told_and_the_records_wait(
    world: World, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    parts, changes = REFUSALS[kind]
    issued = {
        "expired": lambda: world.authority.issue(ended=True),
        "other host": lambda: world.authority.issue(hosts=("kafka.example",)),
        "other CA": lambda: Authority("Other CA").issue(),
    }.get(kind, world.authority.issue)()

    async def scenario() -> None:
        wants: dict[str, Any] = {"client_ca": world.ca} if kind == "wants a client certificate" else {}
        cluster = world.cluster(issued, **wants)
        async with running(cluster, **{**world.trusting, **changes}) as rig:
            await said_and_mended(rig, cluster, caplog, *parts)
            broker = cluster.brokers[1]
            await broker.stop()
            broker.tls = server_context(world.authority.issue(), world.folder)
            await broker.start()
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a"]
            assert "answers again" in caplog.text

    with caplog.at_level(logging.INFO):
        run(scenario())


def test_without_the_host_name_check_another_name_is_taken(world: World) -> None:
    async def scenario() -> None:
        cluster = world.cluster(world.authority.issue(hosts=("kafka.example",)))
        async with running(cluster, **world.trusting, ssl_endpoint_identification_algorithm="") as rig:
            rig.send(b"a")
            await rig.idle()

    run(scenario())


@pytest.mark.parametrize(("changes", "version"), [({}, "TLSv1.3"), ({"ssl_protocol": "TLSv1.2"}, "TLSv1.2")])
def test_the_protocol_is_the_highest_that_is_allowed(world: World, changes: dict[str, Any], version: str) -> None:
    async def scenario() -> None:
        async with running(world.cluster(), **world.trusting, **changes) as rig:
            rig.send(b"a")
            await rig.idle()
            connection = rig.producer._brokers.by_node[1].connection
            assert connection is not None
            assert connection._tls is not None
            assert connection._tls.version == version

    run(scenario())


def test_a_chosen_cipher_suite_is_the_one_in_use(world: World) -> None:
    suites = ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",)

    async def scenario() -> None:
        async with running(world.cluster(), **world.trusting, ssl_cipher_suites=suites) as rig:
            rig.send(b"a")
            await rig.idle()
            connection = rig.producer._brokers.by_node[1].connection
            assert connection is not None
            assert connection._tls is not None
            assert connection._tls._object.cipher() == ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLSv1.2", 128)

    run(scenario())


def test_changed_certificates_are_used_and_broken_ones_are_not(world: World, caplog: pytest.LogCaptureFixture) -> None:
    own = world.folder / "own.pem"
    world.authority.issue("old").pem(own)

    async def scenario() -> None:
        cluster = world.cluster(client_ca=world.ca)
        async with running(cluster, **world.trusting, ssl_keystore_location=str(own)) as rig:
            await again(rig, b"a")
            contexts = rig.producer._brokers._security._contexts
            assert contexts is not None
            first = contexts.get()
            own.write_text("not a certificate")
            cluster.brokers[1].cut()
            await again(rig, b"b")
            assert contexts.get() is first
            assert "neither PEM nor PKCS#12" in caplog.text
            assert "go on with the certificates as they were read before" in caplog.text
            world.authority.issue("new").pem(own)
            cluster.brokers[1].cut()
            await again(rig, b"c")
            assert contexts.get() is not first
            assert "certificate files have changed" in caplog.text
            own.unlink()
            cluster.brokers[1].cut()
            await again(rig, b"d")
            assert lines_of(cluster.log("t")) == [b"a", b"b", b"c", b"d"]

    with caplog.at_level(logging.INFO):
        run(scenario())


def test_a_store_that_is_not_there_is_told_and_taken_once_it_is(world: World, caplog: pytest.LogCaptureFixture) -> None:
    late = world.folder / "late.pem"

    async def scenario() -> None:
        cluster = world.cluster()
        async with running(cluster, security_protocol="SSL", ssl_truststore_location=str(late)) as rig:
            rig.send(b"a")
            await rig.until(lambda: f"ssl.truststore.location = {late} cannot be read" in caplog.text)
            world.authority.pem(late)
            await rig.idle()

    run(scenario())


def test_tls_and_plain_text_that_meet_each_other_are_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        cluster = world.cluster()
        async with running(cluster) as rig:
            rig.send(b"a")
            await rig.until(lambda: "set security.protocol to SSL or SASL_SSL" in caplog.text)
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, **world.trusting) as rig:
            rig.send(b"a")
            await rig.until(lambda: "(TLS handshake)" in caplog.text)

    run(scenario())


def test_a_peer_that_is_silent_in_the_handshake_costs_no_more_than_the_setup_timeout(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while await reader.read(1000):
                    pass
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        changes: dict[str, Any] = {"socket_connection_setup_timeout_ms": 100, "security_protocol": "SSL"}
        rig = Rig((f"127.0.0.1:{port}",), **changes)
        rig.send(b"a")
        await rig.until(lambda: "(TLS handshake)" in caplog.text)
        await rig.close()
        server.close()

    run(scenario())
