"""The end of a certificate is read as cryptography reads it; what is none has no end, and no error."""

import base64
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from ingestd.config.security import Security
from ingestd.producer.network.validity import certificate_end, our_end
from ingestd.secret import Secret
from tests.certificates import Authority, Issued

ISSUED = Authority().issue("client", ended=True)
BYTES = ISSUED.certificate.public_bytes(Encoding.DER)


def end_of(issued: Issued) -> str:
    return f"{issued.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"


def test_the_end_is_that_of_the_first_certificate(tmp_path: Path) -> None:
    own = ISSUED.pem(tmp_path / "own.pem", "hunter2")
    assert our_end(Security(ssl_keystore_location=str(own))) == end_of(ISSUED)
    chain = Secret(ISSUED.chain_pem().decode())
    assert our_end(Security(ssl_keystore_certificate_chain=chain)) == end_of(ISSUED)


def test_both_kinds_of_time_are_read() -> None:
    pem = """-----BEGIN CERTIFICATE-----
{}
-----END CERTIFICATE-----"""
    for days, end in ((b"\x18\x0f20510203040506Z", "2051-02-03T04:05:06Z"), (b"\x17\x0d490203040506Z", "2049-02-03")):
        validity = b"\x30" + bytes([len(days) * 2]) + days * 2
        body = b"\x02\x01\x01\x30\x00\x30\x00" + validity
        der = b"\x30" + bytes([len(body) + 2]) + b"\x30" + bytes([len(body)]) + body
        assert certificate_end(pem.format(base64.b64encode(der).decode())).startswith(end)


def test_without_a_certificate_in_pem_there_is_none(tmp_path: Path) -> None:
    assert our_end(Security()) == ""
    assert our_end(Security(ssl_keystore_location=str(tmp_path / "none"))) == ""
    assert our_end(Security(ssl_keystore_location=str(ISSUED.pkcs12(tmp_path / "own.p12", "hunter2")))) == ""
    assert certificate_end("-----BEGIN CERTIFICATE-----") == ""


@given(st.integers(0, len(BYTES) - 1), st.integers(0, 255), st.integers(0, len(BYTES)))
def test_a_broken_certificate_is_no_error(at: int, byte: int, size: int) -> None:
    broken = bytearray(BYTES)
    broken[at] = byte
    text = base64.b64encode(broken[:size]).decode()
    found = certificate_end(f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----")
    assert found == "" or found.endswith("Z")
