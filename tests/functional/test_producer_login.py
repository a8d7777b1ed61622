"""SASL over real sockets against the scripted broker: who is let in, who is not, renewals, tokens."""

import asyncio
import logging
import socket
from pathlib import Path
from typing import Any

import pytest

from ingestd.config.jaas import Credentials
from ingestd.config.security import NO_SECRET, Security
from ingestd.producer.network import connection as connection_module
from ingestd.producer.network.tokens import TokenError, ask_endpoint
from ingestd.secret import Secret
from tests.fakes.broker import METADATA, SASL_AUTHENTICATE, SASL_HANDSHAKE, SILENCE
from tests.fakes.sasl import SaslServer
from tests.functional.producer_rig import Rig, lines_of, running
from tests.functional.security_kit import (
    CANARY,
    Endpoint,
    World,
    again,
    bearer,
    login,
    plain_sasl,
    run,
    said_and_mended,
    server_context,
)
from tests.kafka.proxy import Direction, FaultProxy


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_records_go_through_behind_a_login(mechanism: str) -> None:
    async def scenario() -> None:
        sasl = SaslServer(mechanism, users={"u": "p"})
        cluster = plain_sasl(sasl)
        async with running(cluster, **login(mechanism)) as rig:
            await again(rig, b"a")
            assert lines_of(cluster.log("t")) == [b"a"]
        assert set(sasl.logins) == {"u"}
        assert sasl.trespasses == []

    run(scenario())


def test_a_jaas_configuration_logs_in_over_tls(world: World) -> None:
    async def scenario() -> None:
        sasl = SaslServer("SCRAM-SHA-512", users={"u": 'p"\\q'})
        cluster = world.cluster(sasl=sasl)
        text = 'org.apache.kafka.common.security.scram.ScramLoginModule required username="u" password="p\\"\\\\q";'
        changes = {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_jaas_config": Secret(text)}
        async with running(cluster, **{**world.trusting, **changes}) as rig:
            await again(rig, b"a")
        assert sasl.logins

    run(scenario())


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_wrong_password_is_told_without_it_and_the_right_one_recovers(
    mechanism: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        sasl = SaslServer(mechanism, users={"u": "other"})
        cluster = plain_sasl(sasl)
        async with running(cluster, **login(mechanism, CANARY)) as rig:
            await said_and_mended(rig, cluster, caplog, "SASL_AUTHENTICATION_FAILED", "sasl.username and sasl.password")
            sasl.users["u"] = CANARY
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a"]

    with caplog.at_level(logging.DEBUG):
        run(scenario())
    assert CANARY not in caplog.text


def test_a_password_file_is_read_at_every_login(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        path = tmp_path / "password"
        sasl = SaslServer("SCRAM-SHA-256", users={"u": CANARY})
        cluster = plain_sasl(sasl)
        changes = login("SCRAM-SHA-256", "", sasl_login_password_file=str(path))
        async with running(cluster, **changes) as rig:
            rig.send(b"a")
            await rig.until(lambda: f'sasl.login.password.file: "{path}" cannot be read: No such file' in caplog.text)
            path.write_text("old")
            await rig.until(lambda: "what is in sasl.login.password.file" in caplog.text)
            path.write_text(f"{CANARY}\n")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a"]

    run(scenario())
    assert CANARY not in caplog.text


def test_a_mechanism_that_the_broker_lacks_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        sasl = SaslServer("SCRAM-SHA-512", users={"u": "p"})
        cluster = plain_sasl(sasl)
        async with running(cluster, **login("PLAIN")) as rig:
            await said_and_mended(rig, cluster, caplog, "does not have PLAIN; it has SCRAM-SHA-512")
            sasl.mechanisms = ("PLAIN",)
            await rig.idle()

    run(scenario())


def test_a_server_that_does_not_know_the_password_is_not_written_to(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        sasl = SaslServer("SCRAM-SHA-256", users={"u": "p"})
        sasl.tamper = lambda message: message[:-5] + b"AAAA="
        cluster = plain_sasl(sasl)
        async with running(cluster, **login("SCRAM-SHA-256")) as rig:
            rig.send(b"a")
            await rig.until(lambda: "it does not know the password" in caplog.text)
            assert cluster.brokers[1].requests[METADATA] == 0
            sasl.tamper = bytes
            sasl.iterations = 1
            await rig.until(lambda: "asks for 1 SCRAM iterations" in caplog.text)
            assert cluster.brokers[1].requests[METADATA] == 0
            sasl.iterations = 4096
            await rig.idle()

    run(scenario())


@pytest.mark.parametrize("api_key", [SASL_HANDSHAKE, SASL_AUTHENTICATE])
@pytest.mark.parametrize("fault", [SILENCE, b"", b"\xff" * 40], ids=["silence", "empty", "garbage"])
def test_a_bad_login_conversation_is_tried_again(api_key: int, fault: Any) -> None:
    async def scenario() -> None:
        cluster = plain_sasl(SaslServer("SCRAM-SHA-256", users={"u": "p"}))
        cluster.brokers[1].control(api_key, lambda _: fault, times=2)
        changes = {"request_timeout_ms": 100, "socket_connection_setup_timeout_ms": 100}
        async with running(cluster, **login("SCRAM-SHA-256"), **changes) as rig:
            await again(rig, b"a")
            assert lines_of(cluster.log("t")) == [b"a"]

    run(scenario())


def test_a_connection_without_a_login_is_told_what_it_lacks(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        cluster = plain_sasl(SaslServer("PLAIN", users={"u": "p"}))
        async with running(cluster) as rig:
            rig.send(b"a")
            await rig.until(lambda: "set security.protocol to SASL_SSL or SASL_PLAINTEXT" in caplog.text)

    run(scenario())


@pytest.fixture
def renewed_early(monkeypatch: pytest.MonkeyPatch) -> int:
    """The lifetime of logins that are renewed after a little more than a second, long before they end: a renewal that
    is late on a busy host is not past the end."""
    low, high = connection_module.REAUTHENTICATE_SHARE
    assert low < high < 1
    monkeypatch.setattr(connection_module, "REAUTHENTICATE_SHARE", (low * 0.13, high * 0.13))
    return 10_000


def test_a_login_is_renewed_while_records_flow(renewed_early: int) -> None:
    async def scenario() -> None:
        sasl = SaslServer("SCRAM-SHA-512", users={"u": "p"}, lifetime_ms=renewed_early)
        cluster = plain_sasl(sasl)
        async with running(cluster, **login("SCRAM-SHA-512")) as rig:
            count = 0
            while len(sasl.logins) < 4:
                rig.send(b"%d" % count)
                count += 1
                await asyncio.sleep(0.01)
                assert count < 1000
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"%d" % number for number in range(count)]
            assert sasl.trespasses == []
            # one for the bootstrap server, one for the broker: neither was closed and made anew
            assert cluster.brokers[1].connections == 2

    run(scenario())


def test_a_renewal_waits_for_no_answer_and_takes_those_that_come(
    caplog: pytest.LogCaptureFixture, renewed_early: int
) -> None:
    """Produce answers are on their way all the time: they come in the middle of a renewal."""
    # that it ends with the producer is no warning
    caplog.set_level(logging.WARNING)

    async def scenario() -> None:
        sasl = SaslServer("PLAIN", users={"u": "p"}, lifetime_ms=renewed_early)
        cluster = plain_sasl(sasl)
        async with running(cluster, **login("PLAIN"), request_timeout_ms=5000) as rig:
            await again(rig, b"first")
            cluster.brokers[1].delay_s = 0.04
            for number in range(50):
                rig.send(b"%d" % number)
                await asyncio.sleep(0.045)
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"first", *(b"%d" % number for number in range(50))]
            assert sasl.trespasses == []
            assert len(sasl.logins) > 2

    run(scenario())
    assert "closed" not in caplog.text


def test_a_password_that_changes_ends_the_connection_at_the_renewal(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        sasl = SaslServer("SCRAM-SHA-256", users={"u": "p"}, lifetime_ms=1200)
        cluster = plain_sasl(sasl)
        async with running(cluster, **login("SCRAM-SHA-256")) as rig:
            await again(rig, b"a")
            sasl.users["u"] = "new"
            # both of them: as long as the broker's own goes on, the record goes through
            await rig.until(lambda: "login refused" in caplog.text and not rig.producer.brokers_connected)
            rig.send(b"b")
            await rig.until(lambda: "cannot connect" in caplog.text)
            sasl.users["u"] = "p"
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a", b"b"]

    run(scenario())


def test_a_token_of_an_endpoint_with_tls_logs_in_and_is_asked_for_once(world: World) -> None:
    async def scenario() -> None:
        sasl = SaslServer("OAUTHBEARER")
        sasl.tokens.add("token-1")
        cluster = plain_sasl(sasl)
        with Endpoint(server_context(world.authority.issue(), world.folder)) as endpoint:
            endpoint.answers = [(200, {"access_token": "token-1", "expires_in": 3600})]
            url = f"https://127.0.0.1:{endpoint.port}/token"
            async with running(cluster, **bearer(url, ssl_truststore_location=str(world.ca))) as rig:
                await again(rig, b"a")
                cluster.brokers[1].cut()
                await again(rig, b"b")
            assert endpoint.asked == ["grant_type=client_credentials"]
        assert set(sasl.logins) == {"token-1"}

    run(scenario())


def test_an_endpoint_that_refuses_is_told_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        sasl = SaslServer("OAUTHBEARER")
        sasl.tokens.add("token-1")
        cluster = plain_sasl(sasl)
        with Endpoint() as endpoint:
            endpoint.answers = [(401, {"error": "invalid_client", "error_description": "unknown client"})]
            async with running(cluster, **bearer(f"http://127.0.0.1:{endpoint.port}/token")) as rig:
                rig.send(b"a")
                await rig.until(lambda: "HTTP status 401, invalid_client: unknown client" in caplog.text)
                endpoint.answers = [(200, {"access_token": "token-1", "expires_in": 3600})]
                await rig.idle()

    with caplog.at_level(logging.DEBUG):
        run(scenario())
    assert CANARY not in caplog.text
    assert "token-1" not in caplog.text


def test_a_token_that_a_broker_refuses_is_not_used_again(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        sasl = SaslServer("OAUTHBEARER")
        sasl.tokens.add("good")
        cluster = plain_sasl(sasl)
        with Endpoint() as endpoint:
            endpoint.answers = [
                (200, {"access_token": "revoked", "expires_in": 3600}),
                (200, {"access_token": "good", "expires_in": 3600}),
            ]
            async with running(cluster, **bearer(f"http://127.0.0.1:{endpoint.port}/")) as rig:
                await again(rig, b"a")
        assert "invalid_token" in caplog.text

    run(scenario())


def test_a_token_is_renewed_in_time_and_the_login_with_it(renewed_early: int) -> None:
    """Tokens live for two seconds, and so do the logins: both are renewed while records flow."""

    async def scenario() -> None:
        sasl = SaslServer("OAUTHBEARER", lifetime_ms=renewed_early)
        sasl.tokens.update(f"token-{number}" for number in range(10))
        cluster = plain_sasl(sasl)
        with Endpoint() as endpoint:
            endpoint.answers = [(200, {"access_token": f"token-{n}", "expires_in": 1.2}) for n in range(10)]
            async with running(cluster, **bearer(f"http://127.0.0.1:{endpoint.port}/")) as rig:
                count = 0
                while len(set(sasl.logins)) < 3:
                    rig.send(b"%d" % count)
                    count += 1
                    await asyncio.sleep(0.02)
                    assert count < 400
                await rig.idle()
                assert lines_of(cluster.log("t")) == [b"%d" % number for number in range(count)]
        assert sasl.trespasses == []

    run(scenario())


def test_a_token_file_is_read_anew_when_a_token_is_needed(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "token"
        path.write_text("first")
        sasl = SaslServer("OAUTHBEARER")
        sasl.tokens.update({"first", "second"})
        cluster = plain_sasl(sasl)
        async with running(cluster, **bearer(f"file://{path}")) as rig:
            await again(rig, b"a")
            path.write_text("second")
            cluster.brokers[1].cut()
            await again(rig, b"b")
            assert sasl.logins[-1] == "second"

    run(scenario())


@pytest.mark.parametrize("direction", ["requests", "answers"])
def test_a_connection_that_ends_anywhere_before_it_is_ready_is_made_anew(world: World, direction: Direction) -> None:
    """Cut at byte offsets all over the TLS handshake, the versions and the login."""

    async def scenario() -> None:
        sasl = SaslServer("SCRAM-SHA-256", users={"u": "p"})
        cluster = world.cluster(sasl=sasl)
        await cluster.start()
        changes = {**world.trusting, **login("SCRAM-SHA-256"), "security_protocol": "SASL_SSL"}
        with FaultProxy(cluster.brokers[1].port) as proxy:
            for count, offset in enumerate(range(1, 2600, 260), 1):
                proxy.cut_after(offset, direction)
                rig = Rig((f"127.0.0.1:{proxy.port}",), **changes)
                rig.send(b"%d" % offset)
                await rig.idle()
                await rig.close()
                assert len(lines_of(cluster.log("t"))) == count
        await cluster.stop()

    run(scenario())


def refusal(url: str, **changes: Any) -> str:
    """Why there is no token to be had from ``url``."""
    limits = {"sasl_login_connect_timeout_ms": 300, "sasl_login_read_timeout_ms": 200}
    settings = Security(sasl_oauthbearer_token_endpoint_url=url, **{**limits, **changes})
    with pytest.raises(TokenError) as caught:
        ask_endpoint(settings, Credentials("", NO_SECRET, "me", Secret(CANARY), ""), 0)
    assert CANARY not in str(caught.value)
    return str(caught.value)


def test_an_endpoint_that_is_not_trusted_is_told_with_what_to_do(world: World) -> None:
    for issued, trusting, cure in (
        (world.authority.issue(), {}, ". Add its CA to ssl.truststore.location"),
        (world.authority.issue(hosts=("idp.example",)), world.trusting, ". Write a name that is in it into the URL"),
        (world.authority.issue(ended=True), world.trusting, ". Renew it there"),
    ):
        with Endpoint(server_context(issued, world.folder)) as endpoint:
            url = f"https://127.0.0.1:{endpoint.port}/t"
            text = refusal(url, **trusting, sasl_login_connect_timeout_ms=9000)
        assert "its certificate is not trusted: " in text
        assert text.endswith(cure)
        assert ".." not in text


def test_an_endpoint_without_tls_is_told() -> None:
    with Endpoint() as endpoint:
        assert "it speaks no TLS there" in refusal(f"https://127.0.0.1:{endpoint.port}/t")


def test_an_endpoint_that_is_silent_is_told_with_the_limit_that_is_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}/t"
        assert refusal(f"http://{place}").endswith("timed out (sasl.login.read.timeout.ms = 200)")
        assert refusal(f"https://{place}").endswith("timed out (sasl.login.connect.timeout.ms = 300)")
