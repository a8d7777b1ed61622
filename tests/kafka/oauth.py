"""Who issues bearer tokens: signed and unsigned JWTs, a token endpoint; what a broker's listener needs to take them.

Kafka's broker checks signatures with keys from a file (``sasl.oauthbearer.jwks.endpoint.url``), which its JVM must be
allowed to read (``allowed_by``); without a validator of its own a listener takes tokens that nobody has signed.
"""

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.fakes.token_endpoint import Answer, TokenServer

MODULE = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
VALIDATOR = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler"
CHECKS_SIGNATURES = "org.apache.kafka.common.security.oauthbearer.BrokerJwtValidator"
"""Named, since what a 4.1.1 broker takes without it (DefaultJwtValidator) lets in whoever signs with any key."""
ALLOWED = "-Dorg.apache.kafka.sasl.oauthbearer.allowed."
ISSUER, AUDIENCE = "https://login.example", "kafka"
CLIENT_ID = "ingestd"


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _json(members: Mapping[str, Any]) -> str:
    return _coded(json.dumps(members).encode())


class Issuer:
    """Signs with a key of its own, whose public half is in ``keys``, a file for brokers."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        numbers = self._key.public_key().public_numbers()
        key = {"n": _coded(numbers.n.to_bytes(256)), "e": _coded(numbers.e.to_bytes(3))}
        self.keys = folder / "keys.json"
        self.keys.write_text(json.dumps({"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "k", **key}]}))

    def token(self, seconds: float, **claims: Any) -> str:
        """A signed one that lives so long; ``claims`` instead of the usual ones."""
        head = f"{_json({'alg': 'RS256', 'typ': 'JWT', 'kid': 'k'})}.{_json(_claims(seconds, claims))}"
        return f"{head}.{_coded(self._key.sign(head.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    @property
    def allowed(self) -> tuple[str, ...]:
        """Options of a broker's JVM that may read the keys."""
        return f"{ALLOWED}urls={self.keys.as_uri()}", f"{ALLOWED}files={self.keys}"

    def properties(self, listener: str, **more: str) -> dict[str, str]:
        """A listener that takes this issuer's tokens, not a moment behind their end."""
        place = f"listener.name.{listener.lower()}."
        return {
            **unsigned_properties(listener, **more),
            f"{place}oauthbearer.sasl.server.callback.handler.class": VALIDATOR,
            f"{place}sasl.oauthbearer.jwt.validator.class": CHECKS_SIGNATURES,
            f"{place}sasl.oauthbearer.jwks.endpoint.url": self.keys.as_uri(),
            f"{place}sasl.oauthbearer.expected.issuer": ISSUER,
            f"{place}sasl.oauthbearer.expected.audience": AUDIENCE,
            f"{place}sasl.oauthbearer.clock.skew.seconds": "0",
        }


def unsigned_properties(listener: str, **more: str) -> dict[str, str]:
    """A listener that takes tokens without a signature; of ``more``, underscores stand for dots."""
    place = f"listener.name.{listener.lower()}."
    return {
        f"{place}sasl.enabled.mechanisms": "OAUTHBEARER",
        f"{place}oauthbearer.sasl.jaas.config": MODULE,
        **{f"{place}{name.replace('_', '.')}": value for name, value in more.items()},
    }


def unsigned_token(seconds: float, **claims: Any) -> str:
    """One that nobody has signed."""
    return f"{_json({'alg': 'none'})}.{_json(_claims(seconds, claims))}."


def _claims(seconds: float, changes: Mapping[str, Any]) -> dict[str, Any]:
    now = time.time()
    usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": CLIENT_ID, "scope": ["produce"], "iat": now, "exp": now + seconds}
    return {**usual, **changes}


def put(path: Path, token: str) -> None:
    """As whoever renews a token file does it: never half of it is there."""
    draft = path.with_suffix(".draft")
    draft.write_text(token)
    draft.chmod(0o600)
    draft.rename(path)


class TokenEndpoint(TokenServer):
    """The client credentials grant: tokens of ``issuer`` that live ``seconds``."""

    def __init__(self, issuer: Issuer, secret: str, seconds: float) -> None:
        super().__init__()
        self.url = f"http://127.0.0.1:{self.port}/oauth2/token"
        self.issued: list[str] = []
        self.refused = 0
        self.secret = secret
        self._issuer = issuer
        self._seconds = seconds

    def answer(self, form: str, login: str) -> Answer:
        """A token for whoever knows the secret."""
        pair = base64.b64encode(f"{CLIENT_ID}:{self.secret}".encode()).decode()
        if login == f"Basic {pair}" and form == "grant_type=client_credentials":
            self.issued.append(self._issuer.token(self._seconds))
            return 200, {"access_token": self.issued[-1], "token_type": "Bearer", "expires_in": self._seconds}
        self.refused += 1
        return 401, {"error": "invalid_client", "error_description": "who are you"}
