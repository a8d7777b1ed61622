"""One connection's protocol state, without I/O: versions, login, correlation in order, framing, byte limits.

    NEW ──start()──► NEGOTIATING ──ApiVersions answered──► READY ──reauthenticate()──► REAUTHENTICATING
                          │                                  ▲                                │
                          │ with SASL                        │ last answer of the login       │
                          └────────► AUTHENTICATING ─────────┴────────────────────────────────┘

    close() leads from each of them to CLOSED.

While it is REAUTHENTICATING (KIP-368) answers to earlier requests still come, and no other request may be written.

A broker answers in the order of the requests, so a response is matched by position *and* by correlation id; a mismatch
is a ProtocolError and the end of the connection. Versions are negotiated anew per connection (rolling upgrades).
"""

from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from struct import Struct
from typing import Final, Generic, NamedTuple, TypeVar

from ingestd.kafka import messages, produce
from ingestd.kafka.errors import (
    ILLEGAL_SASL_STATE,
    NONE,
    REBOOTSTRAP_REQUIRED,
    UNSUPPORTED_SASL_MECHANISM,
    UNSUPPORTED_VERSION,
    AuthenticationError,
    NoLoginWantedError,
    ProtocolError,
    RebootstrapError,
    error_of,
)
from ingestd.kafka.sasl import Mechanism, quoted

RESPONSE_BYTES_MAX: Final = 100 << 20
API_VERSIONS_FIRST: Final = 4
THROTTLE_SINCE: Final = {
    produce.API_KEY: 6,
    messages.METADATA: 6,
    messages.INIT_PRODUCER_ID: 1,
    messages.API_VERSIONS: 2,
    messages.DESCRIBE_CONFIGS: 2,
}
"""From these versions on the client keeps silent for the throttle time of an answer; below, the broker has answered
late (KIP-219; ``shouldClientThrottle`` of Kafka's responses)."""
_SIZE_AND_ID: Final = Struct(">ii")
_ID_MASK: Final = 0x7FFFFFFF

Context = TypeVar("Context")


class State(Enum):
    NEW = "new"
    NEGOTIATING = "negotiating"
    AUTHENTICATING = "authenticating"
    READY = "ready"
    REAUTHENTICATING = "reauthenticating"
    CLOSED = "closed"


class Pending(NamedTuple, Generic[Context]):
    """A request whose answer has not come. ``context``: the caller's own."""

    correlation_id: int
    api_key: int
    version: int
    sent_tick_ms: int
    context: Context


class Session(Generic[Context]):
    """Feed bytes in with ``receive``; send what ``start`` and the caller's encoders make."""

    def __init__(self, client_id: str, software_version: str, mechanism: Mechanism | None = None) -> None:
        self.client_id = client_id
        self.state = State.NEW
        self.pending: deque[Pending[Context]] = deque()
        self.versions: dict[int, int] = {}
        """Chosen version per api key, once READY."""
        self.throttle_ms = 0
        """What the answer to ApiVersions asked for, once READY."""
        self.lifetime_ms = 0
        """How long the broker keeps this login, from the last answer on; 0: for as long as the connection lives."""
        self._mechanism = mechanism
        self._challenge: tuple[bytes, Context] | None = None
        self._software_version = software_version
        self._correlation_id = 0
        self._buffer = bytearray()
        self.api_versions_version = API_VERSIONS_FIRST

    def start(self, context: Context, tick_ms: int) -> bytes:
        """The first request of a connection: ApiVersions."""
        if self.state is not State.NEW:
            raise AssertionError(f"start() in state {self.state.value}")
        self.state = State.NEGOTIATING
        return self._negotiate(context, tick_ms)

    def _negotiate(self, context: Context, tick_ms: int) -> bytes:
        version = self.api_versions_version
        correlation_id = self.expect(messages.API_VERSIONS, version, context, tick_ms)
        return messages.api_versions_request(version, correlation_id, self.client_id, self._software_version)

    def expect(self, api_key: int, version: int, context: Context, tick_ms: int) -> int:
        """Notes a request that is about to be written; returns its correlation id."""
        correlation_id = self._correlation_id
        self._correlation_id = (correlation_id + 1) & _ID_MASK
        self.pending.append(Pending(correlation_id, api_key, version, tick_ms, context))
        return correlation_id

    def receive(self, data: bytes) -> Iterator[tuple[Pending[Context], bytes, int]]:
        """Takes bytes from the socket; yields the answers they complete: (request, frame, offset of its body).

        Answers to ApiVersions are among them: hand those to ``negotiated``. Raises ProtocolError. A request leaves
        ``pending`` when its answer is yielded, so that after an error in between ``close`` returns the others.
        """
        buffer = self._buffer
        # Usual case: one or more whole responses, nothing held back. No copy is made then.
        frame_source: bytes | bytearray = data
        if buffer:
            buffer += data
            frame_source = buffer
        at = 0
        end = len(frame_source)
        while end - at >= 8:
            size, correlation_id = _SIZE_AND_ID.unpack_from(frame_source, at)
            if size < 4 or size > RESPONSE_BYTES_MAX:
                raise ProtocolError(f"response of {size} bytes")
            if at + 4 + size > end:
                break
            if self.state is State.CLOSED:
                return
            if not self.pending:
                raise ProtocolError("response to nothing")
            request = self.pending[0]
            if request.correlation_id != correlation_id:
                raise ProtocolError(f"response to {correlation_id}, expected {request.correlation_id}")
            self.pending.popleft()
            whole = at == 0 and 4 + size == end and frame_source is data
            frame = data if whole else bytes(frame_source[at : at + 4 + size])
            at += 4 + size
            yield request, frame, 8
        self._keep(frame_source, at, end)

    def _keep(self, source: bytes | bytearray, at: int, end: int) -> None:
        """Holds the unfinished rest. A first size that lies is refused before its bytes are waited for."""
        if source is self._buffer:
            del self._buffer[:at]
        elif at < end:
            self._buffer += source[at:]
        if len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4], signed=True)
            if size < 4 or size > RESPONSE_BYTES_MAX:
                raise ProtocolError(f"response of {size} bytes")

    def negotiated(self, request: Pending[Context], frame: bytes, at: int, tick_ms: int) -> bytes | None:
        """Takes the answer to ApiVersions. Returns another request to write (an older version, or the first one of
        the login), or None: READY.
        """
        answer = messages.api_versions_response(request.version, frame, at)
        if answer.code == UNSUPPORTED_VERSION and request.version > 0:
            highest = answer.ranges.get(messages.API_VERSIONS, (0, 0))[1]
            self.api_versions_version = min(request.version - 1, max(highest, 0))
            return self._negotiate(request.context, tick_ms)
        if answer.code == REBOOTSTRAP_REQUIRED:
            raise RebootstrapError("ApiVersions refused with REBOOTSTRAP_REQUIRED")
        if answer.code != NONE:
            raise ProtocolError(f"ApiVersions refused with {error_of(answer.code).name}")
        for api_key in messages.SUPPORTED.keys() - {messages.API_VERSIONS}:
            version = messages.highest_common(answer.ranges, api_key)
            if version >= 0:
                self.versions[api_key] = version
        version = produce_version(answer.ranges.get(produce.API_KEY, (0, -1))[1])
        if version < 0 or messages.METADATA not in self.versions:
            raise ProtocolError("the broker shares no version of Produce or Metadata with us")
        self.versions[produce.API_KEY] = version
        self.throttle_ms = answer.throttle_ms
        if self._mechanism is not None:
            self.state = State.AUTHENTICATING
            return self._handshake(self._mechanism, request.context, tick_ms)
        self.state = State.READY
        return None

    # -- login

    def reauthenticate(self, mechanism: Mechanism, context: Context, tick_ms: int) -> bytes:
        """Begins another login on this connection (KIP-368); nothing else may be written until it is READY again."""
        if self.state is not State.READY:
            raise AssertionError(f"reauthenticate() in state {self.state.value}")
        self.state = State.REAUTHENTICATING
        return self._handshake(mechanism, context, tick_ms)

    def _handshake(self, mechanism: Mechanism, context: Context, tick_ms: int) -> bytes:
        if not {messages.SASL_HANDSHAKE, messages.SASL_AUTHENTICATE} <= self.versions.keys():
            raise AuthenticationError("the broker has no SaslHandshake 1 and SaslAuthenticate: it is older than 1.0")
        self._mechanism = mechanism
        correlation_id = self.expect(messages.SASL_HANDSHAKE, 1, context, tick_ms)
        return messages.sasl_handshake_request(correlation_id, self.client_id, mechanism.name)

    def sasl_answered(
        self, request: Pending[Context], frame: bytes, at: int, tick_ms: int
    ) -> bytes | Callable[[], None] | None:
        """Takes an answer to SaslHandshake or SaslAuthenticate. AuthenticationError: this login is over.

        Returns the next request to write, or None: READY. Or work that is too long for an event loop: run it (in any
        thread), then write what ``go_on`` gives.
        """
        mechanism = self._mechanism
        if mechanism is None:
            raise AssertionError("an answer to a login that nobody began")
        if request.api_key == messages.SASL_HANDSHAKE:
            code, offered = messages.sasl_handshake_response(frame, at)
            if code == UNSUPPORTED_SASL_MECHANISM:
                has = ", ".join(offered) or "none"
                text = f"the broker's listener does not have {mechanism.name}; it has {has}"
                raise AuthenticationError(f"{text}. Set sasl.mechanism to one of them")
            if code == ILLEGAL_SASL_STATE:
                raise NoLoginWantedError("the broker's listener wants no login")
            if code != NONE:
                raise AuthenticationError(f"SaslHandshake refused with {error_of(code).name}")
            return self._say(mechanism.first(), request.context, tick_ms)
        answer = messages.sasl_authenticate_response(request.version, frame, at)
        if answer.code != NONE:
            refusal = getattr(mechanism, "refusal", "")
            said = answer.text or ""
            if refusal and said.startswith("{"):
                said = ""  # Kafka's own: the JSON once more that the refusal was read from
            text = quoted("; ".join(part for part in (said, refusal) if part), mechanism.secret)
            name = error_of(answer.code).name
            raise AuthenticationError(f"{name}: {text or 'no reason given'}", credentials=True)
        self.lifetime_ms = answer.lifetime_ms
        self._challenge = (answer.auth_bytes, request.context)
        return mechanism.work(answer.auth_bytes) or self.go_on(tick_ms)

    def go_on(self, tick_ms: int) -> bytes | None:
        """Answers the challenge that ``sasl_answered`` took; None: READY."""
        if self._mechanism is None or self._challenge is None:
            raise AssertionError("no challenge to answer")
        (challenge, context), self._challenge = self._challenge, None
        message = self._mechanism.respond(challenge)
        if message is not None:
            return self._say(message, context, tick_ms)
        self._mechanism = None
        self.state = State.READY
        return None

    def _say(self, message: bytes, context: Context, tick_ms: int) -> bytes:
        version = self.versions[messages.SASL_AUTHENTICATE]
        correlation_id = self.expect(messages.SASL_AUTHENTICATE, version, context, tick_ms)
        return messages.sasl_authenticate_request(version, correlation_id, self.client_id, message)

    def close(self) -> list[Pending[Context]]:
        """Ends the session; returns the requests that will never be answered, oldest first."""
        self.state = State.CLOSED
        lost = list(self.pending)
        self.pending.clear()
        self._buffer.clear()
        return lost


def produce_version(highest: int) -> int:
    """The version to produce with; the advertised minimum of 4.x brokers lies and is not looked at (KAFKA-18659)."""
    return max((version for version in produce.VERSIONS if version <= highest), default=-1)
