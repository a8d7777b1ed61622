"""PKCS#12 as PEM: the one place that imports cryptography, whose import takes megabytes of memory."""

from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12


class Unpacked(NamedTuple):
    """What is in a store, as PEM; empty where there is none. ``own`` is the private key's certificate."""

    key: bytes
    own: bytes
    others: bytes


def unpack(content: bytes, password: str) -> Unpacked:
    """Raises ValueError where ``content`` is no PKCS#12 file or ``password`` ("": none) does not open it."""
    try:
        store = pkcs12.load_pkcs12(content, password.encode() if password else None)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from error
    return Unpacked(
        store.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) if store.key else b"",
        store.cert.certificate.public_bytes(Encoding.PEM) if store.cert else b"",
        b"".join(entry.certificate.public_bytes(Encoding.PEM) for entry in store.additional_certs),
    )
