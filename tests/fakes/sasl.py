"""The server's side of SASL for the scripted broker, written from the RFCs and Kafka's SaslServerAuthenticator."""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

OK, UNSUPPORTED_MECHANISM, ILLEGAL_STATE, FAILED = 0, 33, 34, 58


class Said(NamedTuple):
    """An answer to SaslAuthenticate."""

    code: int
    text: str
    auth_bytes: bytes
    lifetime_ms: int = 0


class SaslServer:
    """What a listener knows. ``users``: name → password; ``tokens``: those that are good now."""

    def __init__(self, *mechanisms: str, users: dict[str, str] | None = None, lifetime_ms: int = 0) -> None:
        self.mechanisms = mechanisms
        self.users = users or {}
        self.tokens: set[str] = set()
        self.lifetime_ms = lifetime_ms
        self.iterations = 4096
        self.salt = secrets.token_bytes(16)
        self.tamper: Callable[[bytes], bytes] = bytes
        """Applied to SCRAM's last message."""
        self.logins: list[str] = []
        """Who came in, renewals included."""
        self.trespasses: list[int] = []
        """Api keys of requests that came where none may: before a login, within one, behind its end."""

    def login(self) -> "Login":
        return Login(self)


class Login:
    """One connection's state."""

    def __init__(self, server: SaslServer) -> None:
        self._server = server
        self._mechanism = ""
        self._steps: list[bytes] = []
        self._ends_at: float | None = None
        self._inside = False

    def admits(self, api_key: int) -> bool:
        """Whether a request other than those of the login may come now."""
        ended = self._ends_at is not None and time.monotonic() > self._ends_at
        if self._inside and not self._mechanism and not ended:
            return True
        self._server.trespasses.append(api_key)
        return False

    def handshake(self, mechanism: str) -> tuple[int, tuple[str, ...]]:
        if mechanism not in self._server.mechanisms:
            return UNSUPPORTED_MECHANISM, self._server.mechanisms
        self._mechanism = mechanism
        self._steps = []
        return OK, self._server.mechanisms

    def authenticate(self, message: bytes) -> Said:
        self._steps.append(message)
        if not self._mechanism:
            return Said(ILLEGAL_STATE, "SaslHandshake comes first", b"")
        if self._mechanism == "PLAIN":
            _, name, password = message.decode().split("\0")
            return self._enter(name, b"") if self._server.users.get(name) == password else self._refuse()
        if self._mechanism == "OAUTHBEARER":
            return self._bearer(message)
        return self._scram(message)

    def _bearer(self, message: bytes) -> Said:
        if message == b"\x01":
            return self._refuse()
        token = message.split(b"auth=Bearer ")[1].split(b"\x01")[0].decode()
        if token in self._server.tokens:
            return self._enter(token, b"")
        return Said(OK, "", b'{"status":"invalid_token","scope":"kafka"}')

    def _scram(self, message: bytes) -> Said:
        algorithm = self._mechanism.removeprefix("SCRAM-").replace("-", "").lower()
        fields = {part[:1]: part[2:] for part in message.split(b",")}
        if len(self._steps) == 1:
            nonce = fields[b"r"] + b"server"
            salt = base64.b64encode(self._server.salt)
            self._first = b"r=%s,s=%s,i=%d" % (nonce, salt, self._server.iterations)
            return Said(OK, "", self._first)
        client_first = self._steps[0].removeprefix(b"n,,")
        name = dict(part.split(b"=", 1) for part in client_first.split(b","))[b"n"].decode()
        password = self._server.users.get(name, "")
        salted = hashlib.pbkdf2_hmac(algorithm, password.encode(), self._server.salt, self._server.iterations)
        without_proof, _, proof = message.rpartition(b",p=")
        auth = b",".join((client_first, self._first, without_proof))
        client_key = hmac.digest(salted, b"Client Key", algorithm)
        signature = hmac.digest(hashlib.new(algorithm, client_key).digest(), auth, algorithm)
        claimed = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
        if not password or claimed != client_key:
            return self._refuse()
        verifier = hmac.digest(hmac.digest(salted, b"Server Key", algorithm), auth, algorithm)
        return self._enter(name, self._server.tamper(b"v=" + base64.b64encode(verifier)))

    def _enter(self, name: str, message: bytes) -> Said:
        self._server.logins.append(name)
        self._inside, self._mechanism = True, ""
        lifetime_ms = self._server.lifetime_ms
        self._ends_at = time.monotonic() + lifetime_ms / 1000 if lifetime_ms else None
        return Said(OK, "", message, lifetime_ms)

    def _refuse(self) -> Said:
        return Said(FAILED, f"Authentication failed: invalid credentials with SASL mechanism {self._mechanism}", b"")
