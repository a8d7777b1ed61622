"""Contexts follow their files: the same one while nothing changes, a fresh one then, else the last good one."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ingestd.config.security import Security
from ingestd.kafka.tls import TlsStream
from ingestd.producer.network.stores import StoreError
from ingestd.producer.network.tls_context import TlsContexts, make_context
from ingestd.secret import Secret
from tests.certificates import Authority
from tests.unit.kafka.test_tls import Server


def test_a_context_is_kept_until_a_file_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = Authority()
    ca = authority.pem(tmp_path / "ca.pem")
    contexts = TlsContexts(Security(ssl_truststore_location=str(ca)))
    assert contexts.stale()
    first = contexts.get()
    assert contexts.get() is first
    assert not contexts.stale()
    fresh = Authority().pem(tmp_path / "fresh.pem")
    fresh.rename(ca)
    assert contexts.stale()
    second = contexts.get()
    assert second is not first
    ca.write_text("broken")
    assert contexts.get() is second
    assert contexts.get() is second
    assert caplog.text.count("go on with the certificates as they were read before") == 1
    ca.unlink()
    assert contexts.get() is second
    authority.pem(ca)
    assert contexts.get() is not second


def test_without_a_first_context_every_attempt_looks_again(tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    contexts = TlsContexts(Security(ssl_keystore_location=str(own)))
    with pytest.raises(StoreError, match="cannot be read"):
        contexts.get()
    assert contexts.stale()
    Authority().issue().pem(own)
    assert isinstance(contexts.get(), ssl.SSLContext)


def test_the_settings_are_in_the_context() -> None:
    context = make_context(Security())
    assert (context.minimum_version, context.maximum_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    context = make_context(Security(ssl_protocol="TLSv1.2", ssl_endpoint_identification_algorithm=""))
    assert context.maximum_version is ssl.TLSVersion.TLSv1_2
    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    context = make_context(Security(ssl_enabled_protocols=("TLSv1.3",)))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    context = make_context(Security(ssl_cipher_suites=("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",)))
    names = {cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.2"}
    assert names == {"ECDHE-RSA-AES128-GCM-SHA256"}
    assert context.maximum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("trusted", ["an intermediate authority", "the broker's own certificate", "another authority"])
def test_what_is_in_the_truststore_is_trusted_by_itself(tmp_path: Path, trusted: str) -> None:
    authority = Authority("Inner", issuer=Authority("Root"))
    broker = authority.issue()
    own = {"an intermediate authority": authority.certificate, "the broker's own certificate": broker.certificate}
    certificate = own.get(trusted, Authority("Inner").certificate)
    settings = Security(ssl_truststore_certificates=Secret(certificate.public_bytes(Encoding.PEM).decode()))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(broker.pem(tmp_path / "broker.pem"))
    ours, theirs = TlsStream(make_context(settings), "127.0.0.1"), Server(server)
    ours.start()
    theirs.take(ours.pending())
    if trusted in own:
        ours.receive(theirs.say(b""))
        assert ours.established
    else:
        with pytest.raises(ssl.SSLCertVerificationError):
            ours.receive(theirs.say(b""))


def told(settings: Security) -> str:
    with pytest.raises(StoreError) as caught:
        make_context(settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("password", "text"),
    [("", "is encrypted and ssl.key.password is missing"), ("wrong", "ssl.key.password does not open its private key")],
)
def test_a_wrong_key_password_is_told_and_nobody_is_asked(tmp_path: Path, password: str, text: str) -> None:
    issued = Authority().issue()
    own = issued.pem(tmp_path / "own.pem", "hunter2")
    found = told(Security(ssl_keystore_location=str(own), ssl_key_password=Secret(password)))
    assert found.startswith(f"ssl.keystore.location = {own}: ")
    assert text in found
    texts = Security(
        ssl_keystore_key=Secret(issued.key_pem("hunter2").decode()),
        ssl_keystore_certificate_chain=Secret(issued.chain_pem().decode()),
        ssl_key_password=Secret(password),
    )
    assert told(texts) == found.replace(f"location = {own}", "key")


@pytest.mark.parametrize("password", ["", "hunter2"])
def test_a_certificate_that_is_cut_off_is_not_laid_on_the_key(tmp_path: Path, password: str) -> None:
    issued = Authority().issue()
    own = tmp_path / "own.pem"
    own.write_bytes(issued.key_pem(password) + issued.chain_pem()[:200])
    found = told(Security(ssl_keystore_location=str(own), ssl_key_password=Secret(password)))
    assert found.startswith(f"ssl.keystore.location = {own}: cannot be used")
    assert "password" not in found


def test_a_key_of_another_certificate_is_told(tmp_path: Path) -> None:
    authority = Authority()
    own = tmp_path / "own.pem"
    own.write_bytes(authority.issue().key_pem() + authority.issue().chain_pem())
    found = told(Security(ssl_keystore_location=str(own)))
    assert found.startswith(f"ssl.keystore.location = {own}: key and first certificate do not belong together")


def test_a_trust_store_that_cannot_be_used_is_told_with_its_name(tmp_path: Path) -> None:
    text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    ca = tmp_path / "ca.pem"
    ca.write_text(text)
    assert told(Security(ssl_truststore_location=str(ca))).startswith(f"ssl.truststore.location = {ca} cannot be used")
    assert told(Security(ssl_truststore_certificates=Secret(text))).startswith("ssl.truststore.certificates cannot be")


def test_a_suite_that_openssl_does_not_know_is_told() -> None:
    with pytest.raises(StoreError, match="openssl ciphers"):
        make_context(Security(ssl_cipher_suites=("NO-SUCH-SUITE",)))
