"""SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677), as Kafka's ScramSaslServer speaks it.

The server proves that it knows the password, too: an answer without the right signature is an AuthenticationError.
Names and passwords go as plain UTF-8, without SASLprep, as with Kafka's ScramFormatter.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final

from ingestd.kafka.errors import AuthenticationError

HASHES: Final = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
ITERATIONS_MIN: Final = 4096
ITERATIONS_MAX: Final = 1_000_000
"""Kafka allows 16384 (ScramMechanism); what asks for more than this wants to keep us busy."""
_NONCE_BYTES: Final = 24
_NO_CHANNEL_BINDING: Final = b"biws"

SaltedKeys = dict[tuple[str, bytes, int], bytes]
"""(hash, salt, iterations) → salted password: PBKDF2 costs milliseconds and its result stays the same."""


class Scram:
    """One exchange. ``keys`` is a cache for one password, shared by its exchanges."""

    secret = ""

    def __init__(
        self, name: str, username: str, password: str, keys: SaltedKeys, *, token_auth: bool = False, nonce: str = ""
    ) -> None:
        self.name = name
        self._hash = HASHES[name]
        self._password = password.encode()
        self._keys = keys
        self._nonce = nonce or base64.b64encode(secrets.token_bytes(_NONCE_BYTES)).decode()
        escaped = username.replace("=", "=3D").replace(",", "=2C")
        extension = ",tokenauth=true" if token_auth else ""
        self._first_bare = f"n={escaped},r={self._nonce}{extension}".encode()
        self._challenge: tuple[bytes, bytes, bytes, int] | None = None
        self._salted: bytes | None = None
        """Its own: the cache is emptied by an exchange with another salt, which goes on at the same time."""
        self._signature: bytes | None = None
        self._done = False

    def first(self) -> bytes:
        return b"n,," + self._first_bare

    def work(self, challenge: bytes) -> Callable[[], None] | None:
        """The key derivation, where the cache does not have its result."""
        if self._signature is not None or self._done:
            return None
        _, _, salt, iterations = self._read(challenge)
        key = (self._hash, salt, iterations)
        self._salted = self._keys.get(key)
        if self._salted is not None:
            return None

        def derive() -> None:
            self._salted = hashlib.pbkdf2_hmac(self._hash, self._password, salt, iterations)
            self._keys.clear()  # one password has one salt; a new one means that the password was set anew
            self._keys[key] = self._salted

        return derive

    def respond(self, challenge: bytes) -> bytes | None:
        if self._signature is None:
            return self._final(challenge)
        if not self._done:
            self._verify(challenge)
            self._done = True
            return None
        raise AuthenticationError("the broker goes on with SCRAM behind its end")

    def _read(self, challenge: bytes) -> tuple[bytes, bytes, bytes, int]:
        """(the message, nonce, salt, iterations) of the server-first message."""
        if self._challenge is None or self._challenge[0] != challenge:
            fields = _fields(challenge)
            nonce = fields.get(b"r", b"")
            if b"m" in fields:
                raise AuthenticationError("the broker asks for a SCRAM extension that is not known")
            if not nonce.startswith(self._nonce.encode()) or len(nonce) == len(self._nonce):
                raise AuthenticationError("the broker's SCRAM nonce does not continue ours")
            digits = fields.get(b"i", b"")
            iterations = int(digits) if digits.isdigit() and len(digits) <= len(str(ITERATIONS_MAX)) else 0
            if not ITERATIONS_MIN <= iterations <= ITERATIONS_MAX:
                raise AuthenticationError(
                    f"the broker asks for {iterations} SCRAM iterations; {ITERATIONS_MIN} to {ITERATIONS_MAX} are safe"
                )
            self._challenge = (challenge, nonce, _decoded(fields.get(b"s", b""), "salt"), iterations)
        return self._challenge

    def _final(self, challenge: bytes) -> bytes:
        message, nonce, _, _ = self._read(challenge)
        salted = self._salted
        if salted is None:
            raise AuthenticationError("the broker's SCRAM challenge is another one than before")
        client_key = self._hmac(salted, b"Client Key")
        without_proof = b"c=" + _NO_CHANNEL_BINDING + b",r=" + nonce
        auth_message = b",".join((self._first_bare, message, without_proof))
        stored_key = hashlib.new(self._hash, client_key).digest()
        signature = self._hmac(stored_key, auth_message)
        proof = bytes(left ^ right for left, right in zip(client_key, signature, strict=True))
        self._signature = self._hmac(self._hmac(salted, b"Server Key"), auth_message)
        return without_proof + b",p=" + base64.b64encode(proof)

    def _verify(self, challenge: bytes) -> None:
        fields = _fields(challenge)
        if b"e" in fields:
            reason = fields[b"e"].decode("ascii", "backslashreplace")[:100]
            raise AuthenticationError(f"the broker refused: {reason}", credentials=True)
        signature = _decoded(fields.get(b"v", b""), "signature")
        if self._signature is None or not hmac.compare_digest(signature, self._signature):
            raise AuthenticationError("the broker's SCRAM signature is wrong: it does not know the password")

    def _hmac(self, key: bytes, message: bytes) -> bytes:
        return hmac.digest(key, message, self._hash)


def _fields(message: bytes) -> dict[bytes, bytes]:
    """``a=…,b=…`` by letter; the first of a kind counts."""
    fields: dict[bytes, bytes] = {}
    for part in message.split(b","):
        name, equals, value = part.partition(b"=")
        if not equals or len(name) != 1:
            raise AuthenticationError("the broker's SCRAM message is not readable")
        fields.setdefault(name, value)
    return fields


def _decoded(text: bytes, what: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except binascii.Error:
        found = b""
    if not found:
        raise AuthenticationError(f"the broker's SCRAM {what} is not readable")
    return found
