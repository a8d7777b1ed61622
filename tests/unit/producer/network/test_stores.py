"""Stores of both kinds are read; what is not one is told with its setting and what to do, and without the password."""

import errno
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from ingestd.config.security import Security
from ingestd.producer.network.stores import StoreError, read_key_store, read_trust_store
from ingestd.producer.network.tls_context import make_context
from ingestd.secret import Secret
from tests.certificates import Authority

PASSWORD = Secret("hunter2")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def test_pem_stays_as_it_is(tmp_path: Path, authority: Authority) -> None:
    own = authority.issue().pem(tmp_path / "own.pem", "hunter2")
    store = read_key_store(Security(ssl_keystore_location=str(own), ssl_key_password=PASSWORD))
    assert store is not None
    assert (store.pem, store.password) == (own.read_bytes(), PASSWORD)
    ca = authority.pem(tmp_path / "ca.pem")
    assert read_trust_store(Security(ssl_truststore_location=str(ca))) == ca.read_text()


def test_comments_in_a_bundle_may_be_in_any_language(tmp_path: Path, authority: Authority) -> None:
    """As in the bundles of distributions and what ``openssl x509 -text`` writes."""
    ca = authority.pem(tmp_path / "ca.pem")
    text = f"\ufeff# F\u0151tan\u00fas\u00edtv\u00e1ny\n{ca.read_text()}"
    ca.write_text(text, "utf-8")
    for settings in (
        Security(security_protocol="SSL", ssl_truststore_location=str(ca)),
        Security(security_protocol="SSL", ssl_truststore_certificates=Secret(text)),
    ):
        assert len(make_context(settings).get_ca_certs()) == 1


def test_pkcs12_becomes_pem_with_its_chain(tmp_path: Path, authority: Authority) -> None:
    issued = authority.issue()
    path = issued.pkcs12(tmp_path / "own.p12", "hunter2")
    store = read_key_store(Security(ssl_keystore_location=str(path), ssl_keystore_password=PASSWORD))
    assert store is not None
    assert store.pem == issued.chain_pem() + issued.key_pem()
    trust = authority.pkcs12(tmp_path / "trust.p12", "hunter2")
    found = read_trust_store(Security(ssl_truststore_location=str(trust), ssl_truststore_password=PASSWORD))
    assert found == authority.pem(tmp_path / "ca.pem").read_text()


def test_texts_are_joined(authority: Authority) -> None:
    issued = authority.issue()
    settings = Security(
        ssl_keystore_key=Secret(issued.key_pem().decode()),
        ssl_keystore_certificate_chain=Secret(issued.chain_pem().decode()),
    )
    store = read_key_store(settings)
    assert store is not None
    assert issued.key_pem() in store.pem
    assert issued.chain_pem() in store.pem


def test_without_stores_there_are_none() -> None:
    assert read_key_store(Security()) is None
    assert read_trust_store(Security()) == ""


def told(settings: Security) -> str:
    with pytest.raises(StoreError) as caught:
        read_key_store(settings)
        read_trust_store(settings)
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


def test_each_fault_is_told(tmp_path: Path, authority: Authority) -> None:
    path = tmp_path / "client.jks"
    path.write_bytes(b"\xfe\xed\xfe\xed\0\0\0\2")
    text = told(Security(ssl_keystore_location=str(path)))
    assert f"keytool -importkeystore -srckeystore {path} -destkeystore {tmp_path}/client.p12" in text
    assert "cannot be read: No such file or directory. Correct the path" in told(
        Security(ssl_keystore_location=str(tmp_path / "no"))
    )
    assert "cannot be read: Is a directory. Name a file" in told(Security(ssl_truststore_location=str(tmp_path)))
    own = authority.issue().pkcs12(tmp_path / "own.p12", "hunter2")
    assert "ssl.keystore.password is missing" in told(Security(ssl_keystore_location=str(own)))
    wrong = Security(ssl_keystore_location=str(own), ssl_keystore_password=Secret("hunter22"))
    assert "ssl.keystore.password is wrong" in told(wrong)
    trust = authority.pkcs12(tmp_path / "trust.p12", "hunter2")
    no_key = Security(ssl_keystore_location=str(trust), ssl_keystore_password=PASSWORD)
    assert "no private key" in told(no_key)
    ca = authority.pem(tmp_path / "ca.pem")
    assert "no private key in it" in told(Security(ssl_keystore_location=str(ca)))
    key = tmp_path / "key.pem"
    key.write_bytes(authority.issue().key_pem())
    assert "no certificate in it" in told(Security(ssl_keystore_location=str(key)))
    assert "no certificate in it" in told(Security(ssl_truststore_location=str(key)))
    assert "no certificate in it" in told(Security(ssl_truststore_certificates=Secret("hunter2")))


def test_a_file_that_may_not_be_read_is_to_be_opened_for_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refusing)  # root may read everything
    text = told(Security(ssl_truststore_location=str(tmp_path / "ca.pem")))
    assert "cannot be read: Permission denied. Let the daemon's user read it" in text


def test_a_der_certificate_comes_with_the_command_that_converts_it(tmp_path: Path, authority: Authority) -> None:
    path = tmp_path / "ca.crt"
    path.write_bytes(authority.certificate.public_bytes(Encoding.DER))
    for kind in ("", "PEM", "PKCS12"):
        text = told(Security(ssl_truststore_location=str(path), ssl_truststore_type=kind))
        assert f"is a DER certificate. Convert it: openssl x509 -inform der -in {path} -out {tmp_path}/ca.pem" in text
    assert "as PEM or PKCS#12" in told(Security(ssl_keystore_location=str(path)))


@pytest.mark.parametrize("what", ["keystore", "truststore"])
def test_the_type_that_is_set_counts_and_not_the_content(tmp_path: Path, authority: Authority, what: str) -> None:
    issued: Any = authority.issue() if what == "keystore" else authority
    paths = {"PEM": issued.pem(tmp_path / "own.pem"), "PKCS12": issued.pkcs12(tmp_path / "own.p12", "hunter2")}

    def settings(content: str, kind: str) -> Security:
        store: dict[str, Any] = {"location": str(paths[content]), "type": kind, "password": PASSWORD}
        return Security(**{f"ssl_{what}_{name}": value for name, value in store.items()})

    for content, kind in (("PEM", "PKCS12"), ("PKCS12", "PEM")):
        found = {"PEM": "PEM", "PKCS12": "PKCS#12"}[content]
        text = f"ssl.{what}.location = {paths[content]}: ssl.{what}.type = {kind}, but the file is {found}. Leave the"
        assert text in told(settings(content, kind))
        right = settings(content, content)
        assert read_key_store(right) if what == "keystore" else read_trust_store(right)


@given(st.binary(max_size=300))
def test_any_file_is_a_store_or_a_store_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    with pytest.raises(StoreError):
        read_key_store(Security(ssl_keystore_location=str(path)))
    with pytest.raises(StoreError):
        read_trust_store(Security(ssl_truststore_location=str(path), ssl_truststore_type="PKCS12"))
