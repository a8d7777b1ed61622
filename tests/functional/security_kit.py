"""What the tests of TLS and logins share: an authority and clusters that it vouches for, logins, a token endpoint."""

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from ingestd.secret import Secret
from tests.certificates import Authority, Issued
from tests.fakes.broker import FakeCluster
from tests.fakes.sasl import SaslServer
from tests.fakes.token_endpoint import Answer, TokenServer
from tests.functional.producer_rig import Rig

CANARY = "hunter2-canary"


def run(scenario: Coroutine[Any, Any, None]) -> None:
    uvloop.run(scenario)


def server_context(certificate: Issued, folder: Path, *, client_ca: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.pem(folder / f"{certificate.name}-{os.urandom(4).hex()}.pem"))
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class World:
    """An authority, and clusters whose brokers it vouches for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority()
        self.ca = self.authority.pem(folder / "ca.pem")
        self.trusting: dict[str, Any] = {"security_protocol": "SSL", "ssl_truststore_location": str(self.ca)}

    def cluster(self, certificate: Issued | None = None, sasl: SaslServer | None = None, **changes: Any) -> FakeCluster:
        cluster = FakeCluster(topics={"t": 1})
        for broker in cluster.brokers.values():
            broker.tls = server_context(certificate or self.authority.issue(), self.folder, **changes)
            broker.sasl = sasl
        return cluster


def plain_sasl(sasl: SaslServer) -> FakeCluster:
    cluster = FakeCluster(topics={"t": 1})
    for broker in cluster.brokers.values():
        broker.sasl = sasl
    return cluster


def login(mechanism: str, password: str = "p", **changes: Any) -> dict[str, Any]:
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_username": "u",
        "sasl_password": Secret(password),
        **changes,
    }


async def said_and_mended(rig: Rig, cluster: FakeCluster, caplog: pytest.LogCaptureFixture, *parts: str) -> None:
    """A record waits while the reason is told, once; then ``mend`` has been done by the caller's next step."""
    rig.send(b"a")
    await rig.until(lambda: all(part in caplog.text for part in parts))
    await asyncio.sleep(0.3)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    told = [text for text in warnings if "cannot connect" in text]
    assert len(set(told)) == len(told), told
    assert len(told) <= 2, told
    assert not rig.producer.idle
    assert cluster.brokers[1].connections < 40, "a steady retry, with backoff"


async def again(rig: Rig, line: bytes) -> None:
    rig.send(line)
    await rig.idle()


class Endpoint(TokenServer):
    """A token endpoint. ``answers``: what the next requests get, the last one for ever."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.asked: list[str] = []
        self.logins: list[str] = []
        """What stands in Authorization."""
        self.times: list[float] = []

    def answer(self, form: str, login: str) -> Answer:
        """The next one."""
        self.times.append(time.monotonic())
        self.logins.append(login)
        self.asked.append(form)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def bearer(url: str, **changes: Any) -> dict[str, Any]:
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_oauthbearer_token_endpoint_url": url,
        "sasl_oauthbearer_client_credentials_client_id": "me",
        "sasl_oauthbearer_client_credentials_client_secret": Secret(CANARY),
        "sasl_login_retry_backoff_ms": 10,
        "sasl_login_retry_backoff_max_ms": 50,
        **changes,
    }
