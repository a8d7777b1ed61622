"""What is said of a connection that cannot be made: the setting to look at, and what to do."""

import contextlib
import ssl
from pathlib import Path
from typing import Any

import pytest

from ingestd.config.security import Security
from ingestd.kafka.errors import AuthenticationError, NoLoginWantedError, ProtocolError
from ingestd.kafka.tls import TlsStream
from ingestd.producer.network.connection import ConnectionLostError
from ingestd.producer.network.reasons import explain, is_tls_alert
from ingestd.secret import Secret
from tests.certificates import Authority, tls_contexts
from tests.unit.kafka.test_tls import Server

TLS: dict[str, Any] = {"security_protocol": "SSL"}


def handshake_error(client: ssl.SSLContext, server: ssl.SSLContext) -> ssl.SSLError:
    """What the client meets, in the handshake or right behind it."""
    ours, theirs = TlsStream(client, "127.0.0.1"), Server(server)
    ours.start()
    for _ in range(5):
        with contextlib.suppress(ssl.SSLError):  # its alert is what counts
            theirs.take(ours.pending())
        try:
            ours.receive(theirs.say(b""))
        except ssl.SSLError as error:
            return error
    raise AssertionError("no error")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_broker_that_wants_a_client_certificate(tmp_path: Path, version: ssl.TLSVersion) -> None:
    authority = Authority()
    client, server = tls_contexts(tmp_path, authority)
    server.load_verify_locations(tmp_path / "ca.pem")
    server.verify_mode = ssl.CERT_REQUIRED
    client.maximum_version = version
    text = explain(handshake_error(client, server), "TLS handshake", Security(**TLS))
    if version is ssl.TLSVersion.TLSv1_3:
        assert text.startswith("it wants a client certificate")
    assert "client certificate" in text
    assert "ssl.keystore.location" in text or "whether it wants" in text
    other = Authority("Other").issue("client").pem(tmp_path / "other.pem")
    client.load_cert_chain(other)
    settings = Security(**TLS, ssl_keystore_location=str(other))
    text = explain(handshake_error(client, server), "TLS handshake", settings)
    assert text.startswith("it refuses our certificate")
    assert "the broker does not trust its CA, or it has ended. Renew it, or set ssl.keystore.location" in text


def test_no_common_version_and_no_common_cipher(tmp_path: Path) -> None:
    client, server = tls_contexts(tmp_path, Authority())
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    assert "ssl.enabled.protocols" in explain(handshake_error(client, server), "TLS handshake", Security(**TLS))
    client, server = tls_contexts(tmp_path, Authority())
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    server.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    assert "ssl.cipher.suites" in explain(handshake_error(client, server), "TLS handshake", Security(**TLS))


def test_a_peer_without_tls() -> None:
    client = TlsStream(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "h")
    client.start()
    with pytest.raises(ssl.SSLError) as caught:
        client.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert "does not speak TLS" in explain(caught.value, "TLS handshake", Security(**TLS))


CLOSED = ConnectionLostError("closed by the broker")
SASL: dict[str, Any] = {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512"}


@pytest.mark.parametrize(
    ("error", "stage", "settings", "part"),
    [
        (
            CLOSED,
            "TLS handshake",
            Security(**TLS),
            "probably speaks no TLS: use the port of a TLS listener",
        ),
        (CLOSED, "TLS handshake", Security(**TLS), "set security.protocol to PLAINTEXT or SASL_PLAINTEXT"),
        (
            NoLoginWantedError("the broker's listener wants no login"),
            "login",
            Security(**SASL),
            "wants no login. Set security.protocol to SSL, or use the port of its SASL listener",
        ),
        (
            NoLoginWantedError("the broker's listener wants no login"),
            "login",
            Security(security_protocol="SASL_PLAINTEXT"),
            "Set security.protocol to PLAINTEXT, or",
        ),
        (CLOSED, "version negotiation", Security(), "set security.protocol to SSL"),
        (CLOSED, "version negotiation", Security(**TLS), "ssl.keystore.location"),
        (CLOSED, "first request", Security(), "SASL_SSL or SASL_PLAINTEXT"),
        (CLOSED, "login", Security(**SASL), "closed by the broker in the login"),
        (CLOSED, "", Security(), "closed by the broker"),
        (ConnectionResetError(104, "Connection reset by peer"), "TLS handshake", Security(**TLS), "speaks no TLS"),
        (
            AuthenticationError("SASL_AUTHENTICATION_FAILED: no", credentials=True),
            "login",
            Security(**SASL),
            "sasl.username",
        ),
        (
            AuthenticationError("x", credentials=True),
            "login",
            Security(**SASL, sasl_jaas_config=Secret("hunter2")),
            "sasl.jaas.config",
        ),
        (
            AuthenticationError("x", credentials=True),
            "login",
            Security(sasl_mechanism="OAUTHBEARER"),
            "sasl.oauthbearer",
        ),
        (ProtocolError("response of 3 bytes"), "login", Security(), "protocol error: response of 3 bytes"),
        (TimeoutError(), "login", Security(), "TimeoutError"),
    ],
)
def test_each_end_has_its_sentence(error: Exception, stage: str, settings: Security, part: str) -> None:
    text = explain(error, stage, settings)
    assert part in text
    assert "hunter2" not in text


def test_an_alert_is_told_from_a_response() -> None:
    assert is_tls_alert(b"\x15\x03\x03\x00\x02\x02\x28")
    assert not is_tls_alert(b"\0\0\0\x15\0\0\0\0")


def test_a_name_that_is_not_in_the_certificate_is_told_in_whole_sentences() -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = 64, "IP address mismatch, certificate is not valid for '127.0.0.1'."
    assert "not valid for '127.0.0.1'. Use a name" in explain(error, "TLS handshake", Security(**TLS))
