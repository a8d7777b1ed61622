"""SASL's client side without I/O: one object per exchange, bytes in and bytes out.

    mechanism.first()             what the first SaslAuthenticate request carries
    mechanism.work(challenge)     None, or what must be run before ``respond``: long enough to belong into a thread
    mechanism.respond(challenge)  the next message, or None: the exchange is over and the server is who it must be

AuthenticationError: the server said something that ends the exchange. PLAIN is RFC 4616, OAUTHBEARER RFC 7628; SCRAM
has a file of its own.
"""

import json
from collections.abc import Callable, Sequence
from typing import Protocol

from ingestd.kafka.errors import AuthenticationError

_SEPARATOR = "\x01"
_REFUSAL_CHARACTERS_MAX = 200


class Mechanism(Protocol):
    """One exchange; it cannot be used for a second one."""

    @property
    def name(self) -> str:
        """As SaslHandshake names it."""

    @property
    def secret(self) -> str:
        """What is sent as it is, so that the broker could repeat it; "": nothing."""

    def first(self) -> bytes: ...

    def work(self, challenge: bytes) -> Callable[[], None] | None: ...

    def respond(self, challenge: bytes) -> bytes | None: ...


class Plain:
    """User name and password as they are: only to be used on TLS."""

    name = "PLAIN"

    def __init__(self, username: str, password: str) -> None:
        self.secret = password
        self._message = f"\0{username}\0{password}".encode()

    def first(self) -> bytes:
        return self._message

    def work(self, challenge: bytes) -> Callable[[], None] | None:  # noqa: ARG002 (the protocol's)
        return None

    def respond(self, challenge: bytes) -> bytes | None:
        if challenge:
            raise AuthenticationError("the broker answered PLAIN with a challenge, which PLAIN does not have")
        return None


class OAuthBearer:
    """A bearer token. ``extensions``: SASL extensions (KIP-342), names and values as the broker's validator wants."""

    name = "OAUTHBEARER"

    def __init__(self, token: str, extensions: Sequence[tuple[str, str]] = ()) -> None:
        self.secret = token
        pairs = "".join(f"{name}={value}{_SEPARATOR}" for name, value in extensions)
        self._message = f"n,,{_SEPARATOR}auth=Bearer {token}{_SEPARATOR}{pairs}{_SEPARATOR}".encode()
        self.refusal = ""
        """The status that the broker gave before its error code came."""

    def first(self) -> bytes:
        return self._message

    def work(self, challenge: bytes) -> Callable[[], None] | None:  # noqa: ARG002 (the protocol's)
        return None

    def respond(self, challenge: bytes) -> bytes | None:
        """A challenge is a refusal in JSON; a lone separator lets the broker answer with its error code."""
        if not challenge:
            if self.refusal:
                raise AuthenticationError(f"the token was refused: {self.refusal}", credentials=True)
            return None
        if self.refusal:
            raise AuthenticationError(f"the token was refused: {self.refusal}", credentials=True)
        self.refusal = quoted(_refusal(challenge), self.secret)[:_REFUSAL_CHARACTERS_MAX] or "no reason given"
        return _SEPARATOR.encode()


def quoted(text: str, secret: str) -> str:
    """What the broker says, as far as it may be told: one who repeats ``secret`` is not quoted, nor is that said."""
    return "" if secret and secret in text else text


def _refusal(challenge: bytes) -> str:
    """``status`` and ``scope`` of an RFC 7628 error; its other members are for programs that ask for tokens."""
    try:
        members = json.loads(challenge)
        found = [str(members[key]) for key in ("status", "scope") if members.get(key)]
    except (ValueError, AttributeError, RecursionError):
        found = []
    return " ".join(found)
