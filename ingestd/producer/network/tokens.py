"""Bearer tokens for SASL/OAUTHBEARER: asked for, kept for as long as they live, renewed before they end.

``sasl.oauthbearer.token.endpoint.url`` is an HTTP(S) endpoint that is asked with the client credentials grant
(RFC 6749, 4.4), or ``file:///PATH`` of a token that another program renews. When to renew is Kafka's rule
(ExpiringCredentialRefreshingLogin): at a share of the token's life, a little later at random, but not within
``refresh.min.period.seconds`` of the last one, and ``refresh.buffer.seconds`` before the end at the latest.
"""

import asyncio
import base64
import binascii
import http.client
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlencode, urlsplit

from ingestd.config.jaas import Credentials
from ingestd.config.security import NO_SECRET, Security
from ingestd.producer.common import Clock, log
from ingestd.producer.network.backoff import Backoff
from ingestd.producer.network.offload import in_thread
from ingestd.producer.network.reasons import EXPIRED, NO_TLS, NOT_YET_VALID, OTHER_NAME
from ingestd.producer.network.stores import StoreError, read_trust_store
from ingestd.secret import Secret

_BODY_BYTES_MAX: Final = 1 << 20
_TEXT_CHARACTERS_MAX: Final = 200


class CredentialsError(OSError):
    """What a login needs is not to be had now; the text says why, and holds no secret."""


class TokenError(CredentialsError):
    """No token is to be had now; the text says from where and why, and holds no secret."""


class Token(NamedTuple):
    """``expires_ms`` 0: nobody knows when it ends, so it is used once. Times by the wall clock."""

    text: Secret
    issued_ms: int
    expires_ms: int


def refresh_at_ms(token: Token, settings: Security, random: Random) -> int:
    """When to ask for the next token."""
    life_ms = token.expires_ms - token.issued_ms
    share = settings.sasl_login_refresh_window_factor + random.uniform(0, settings.sasl_login_refresh_window_jitter)
    wanted_ms = token.issued_ms + int(life_ms * min(share, 1.0))
    least_ms = token.issued_ms + settings.sasl_login_refresh_min_period_seconds * 1000
    most_ms = token.expires_ms - settings.sasl_login_refresh_buffer_seconds * 1000
    if least_ms > most_ms:
        # the token lives too short for both: Kafka ignores them, too
        return wanted_ms
    return min(max(wanted_ms, least_ms), most_ms)


class Tokens:
    """One process's token. ``fetch`` is called in a thread and may take its time; TokenError: there is none."""

    def __init__(
        self,
        settings: Security,
        fetch: Callable[[int], Token],
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        random: Random,
    ) -> None:
        self._settings = settings
        self._fetch = fetch
        self._loop = loop
        self._clock = clock
        self._random = random
        self._backoff = Backoff(settings.sasl_login_retry_backoff_ms, settings.sasl_login_retry_backoff_max_ms, random)
        self._token: Token | None = None
        self._refused: Token | None = None
        """The last one that a broker has refused: others may refuse it, too, since several logins send the same."""
        self._asking: asyncio.Future[Token] | None = None
        self._failures = 0
        self._not_before_ms = 0
        self._fault: TokenError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def get(self) -> str:
        """A token that is good now. TokenError: none is to be had; who connects tries again."""
        token = self._token
        if token is None or token.expires_ms <= self._clock.now_ms():
            if self._asking is None and self._clock.tick_ms() < self._not_before_ms and self._fault is not None:
                raise self._fault
            token = await asyncio.shield(self._ask())
        if not token.expires_ms:
            self._token = None
        return token.text.reveal()

    def forget(self, text: str) -> str:
        """A broker has refused the token ``text``: who needs one asks anew, unless there is another by now.
        Returns what may be to blame, if anything that is seen from here; else nothing."""
        if self._token is not None and self._token.text.reveal() == text:
            self._refused, self._token = self._token, None
        token = self._refused
        if token is None or token.text.reveal() != text or not 0 < token.expires_ms <= self._clock.now_ms():
            return ""
        ended = datetime.fromtimestamp(token.expires_ms / 1000, UTC).isoformat(timespec="seconds")
        return f"the token ended at {ended.replace('+00:00', 'Z')}"

    def close(self) -> None:
        """Nothing is renewed any more: the loop may be a program's, and live on."""
        self._closed = True
        self._cancel()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ask(self) -> asyncio.Future[Token]:
        if self._asking is None:
            now_ms = self._clock.now_ms()
            self._asking = in_thread(self._loop, lambda: self._fetch(now_ms), "ingestd-token")
            self._asking.add_done_callback(self._asked)
        return self._asking

    def _asked(self, future: asyncio.Future[Token]) -> None:
        self._asking = None
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self._failures = 0
            self._fault = None
            self._token = future.result()
            if self._token.expires_ms:
                self._later(self._renewal_delay_ms(self._token))
            return
        if not isinstance(error, TokenError):
            self._loop.call_exception_handler({"message": "a token was fetched", "exception": error})
            return
        self._failures += 1
        self._fault = error
        delay_ms = self._backoff.delay_ms(self._failures)
        self._not_before_ms = self._clock.tick_ms() + delay_ms
        if self._token is not None:
            if self._failures == 1:
                log.warning("the token could not be renewed yet: %s", error)
            self._later(delay_ms)

    def _renewal_delay_ms(self, token: Token) -> int:
        now_ms = self._clock.now_ms()
        if token.expires_ms <= now_ms:
            # A stale file, or a clock that is wrong: as with Kafka, whoever issues tokens is not asked without a pause.
            return self._settings.sasl_login_retry_backoff_max_ms
        return max(
            refresh_at_ms(token, self._settings, self._random) - now_ms, self._settings.sasl_login_retry_backoff_ms
        )

    def _later(self, delay_ms: int) -> None:
        self._cancel()
        if not self._closed:
            self._timer = self._loop.call_later(delay_ms / 1000, self._renew)

    def _renew(self) -> None:
        self._timer = None
        self._ask()


# -- where tokens come from; runs in threads


def fetcher(settings: Security, login: Credentials) -> Callable[[int], Token]:
    """``fetch(now_ms)`` for the configured endpoint."""
    url = urlsplit(settings.sasl_oauthbearer_token_endpoint_url)
    if url.scheme == "file":
        return lambda now_ms: read_token_file(Path(unquote(url.path)), now_ms)
    return lambda now_ms: ask_endpoint(settings, login, now_ms)


def read_token_file(path: Path, now_ms: int) -> Token:
    try:
        text = path.read_text("ascii").strip()
    except OSError as error:
        raise TokenError(
            f"the token file {path} cannot be read: {error.strerror}. Correct the path or its owner"
        ) from None
    except ValueError:
        text = ""
    if not text or not text.isprintable() or " " in text:
        raise TokenError(f"the token file {path} does not hold one token. Write one token, and nothing else, into it")
    return _token(text, now_ms, 0)


def ask_endpoint(settings: Security, login: Credentials, now_ms: int) -> Token:
    """The client credentials grant."""
    form = {"grant_type": "client_credentials", **({"scope": login.scope} if login.scope else {})}
    pair = f"{login.client_id}:{login.client_secret.reveal()}"
    headers = {
        "Authorization": "Basic " + base64.b64encode(pair.encode()).decode(),
        "Accept": "application/json",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    place = f"token endpoint {settings.sasl_oauthbearer_token_endpoint_url}"
    try:
        status, body = _post(settings, urlencode(form), headers)
    except ssl.SSLCertVerificationError as error:
        raise TokenError(f"{place}: its certificate is not trusted: {_distrust(error)}") from None
    except ssl.SSLError as error:
        if error.reason not in NO_TLS:
            raise TokenError(f"{place}: {error}") from None
        raise TokenError(f"{place}: it speaks no TLS there. Write http://, or another port") from None
    except (OSError, http.client.HTTPException) as error:
        raise TokenError(f"{place}: {error or type(error).__name__}") from None
    except ValueError:  # a host name with an empty label, say, or a path that HTTP does not have
        raise TokenError(f"{place}: not a URL that can be asked") from None
    members = _members(body)
    if status != http.HTTPStatus.OK:
        hidden = (login.client_secret.reveal(), headers["Authorization"].removeprefix("Basic "))
        cure = _client_cure(settings) if status == http.HTTPStatus.UNAUTHORIZED else ""
        raise TokenError(f"{place}: HTTP status {status}{_said(members, hidden)}{cure}")
    text = members.get("access_token")
    if not isinstance(text, str) or not text or not text.isprintable():
        raise TokenError(f"{place}: there is no access_token in its answer")
    seconds = members.get("expires_in")
    life_ms = int(seconds * 1000) if isinstance(seconds, int | float) and 0 < seconds < 1 << 40 else 0
    return _token(text, now_ms, life_ms)


def _post(settings: Security, form: str, headers: dict[str, str]) -> tuple[int, bytes]:
    url = urlsplit(settings.sasl_oauthbearer_token_endpoint_url)
    connect_s = settings.sasl_login_connect_timeout_ms / 1000
    host = url.hostname or ""
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(host, url.port, timeout=connect_s, context=_context(settings))
    else:
        connection = http.client.HTTPConnection(host, url.port, timeout=connect_s)
    try:
        limit = f"sasl.login.connect.timeout.ms = {settings.sasl_login_connect_timeout_ms}"
        connection.connect()
        limit = f"sasl.login.read.timeout.ms = {settings.sasl_login_read_timeout_ms}"
        connection.sock.settimeout(settings.sasl_login_read_timeout_ms / 1000)
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection.request("POST", path, form, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(_BODY_BYTES_MAX)
    except TimeoutError as error:
        if error.errno is not None:
            raise  # the kernel's own limit
        raise TimeoutError(f"timed out ({limit})") from None
    finally:
        connection.close()


def _context(settings: Security) -> ssl.SSLContext:
    """Public CAs, and those of the cluster's truststore: an identity provider may have either."""
    context = ssl.create_default_context()
    try:
        trusted = read_trust_store(settings)
    except StoreError as error:
        raise TokenError(str(error)) from None
    if trusted:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as for brokers
        context.load_verify_locations(cadata=trusted)
    return context


def _distrust(error: ssl.SSLCertVerificationError) -> str:
    """Why, and what to do."""
    cures = {
        EXPIRED: "Renew it there",
        NOT_YET_VALID: "Compare the clocks of this host and of the endpoint",
        **dict.fromkeys(OTHER_NAME, "Write a name that is in it into the URL"),
    }
    cure = cures.get(error.verify_code, "Add its CA to ssl.truststore.location")
    return f"{error.verify_message.rstrip('.')}. {cure}"


def _client_cure(settings: Security) -> str:
    """Where the endpoint's client is named."""
    if settings.sasl_jaas_config != NO_SECRET and not settings.sasl_oauthbearer_client_credentials_client_id:
        return ". Check clientId and clientSecret in sasl.jaas.config"
    return ". Check sasl.oauthbearer.client.credentials.client.id and client.secret"


def _members(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _said(members: dict[str, Any], hidden: tuple[str, ...]) -> str:
    """``error`` and ``error_description`` of RFC 6749 5.2; one who repeats what is ``hidden`` is not quoted."""
    texts = [str(members[name]) for name in ("error", "error_description") if members.get(name)]
    text = ": ".join(texts)
    if not text or any(secret in text for secret in hidden):
        return ""
    return f", {text[:_TEXT_CHARACTERS_MAX]}"


def _token(text: str, now_ms: int, life_ms: int) -> Token:
    """With the times that the token itself tells (a JWT's ``iat`` and ``exp``), else with those of its answer."""
    issued_ms, expires_ms = now_ms, now_ms + life_ms if life_ms else 0
    parts = text.split(".")
    if len(parts) == 3:
        try:
            payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        except (binascii.Error, ValueError):
            payload = b""
        claims = _members(payload)
        expires = claims.get("exp")
        if isinstance(expires, int | float) and 0 < expires < 1 << 40:
            expires_ms = int(expires * 1000)
    return Token(Secret(text), issued_ms, expires_ms)
