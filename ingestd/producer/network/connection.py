"""One pipelined connection to a broker: requests go out as buffers with a context, answers come back in order.

Nothing here knows batches. What the connection needs of its broker is the broker itself (address, clock, settings);
who wants to hear of it implements ``Owner``.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from ingestd.kafka import produce
from ingestd.kafka.errors import AuthenticationError, ProtocolError, RebootstrapError
from ingestd.kafka.messages import API_VERSIONS, SASL_AUTHENTICATE, SASL_HANDSHAKE
from ingestd.kafka.sasl import Mechanism
from ingestd.kafka.session import THROTTLE_SINCE, Pending, Session, State
from ingestd.kafka.tls import TlsStream
from ingestd.producer.common import log
from ingestd.producer.network.offload import in_thread
from ingestd.producer.network.patience import LAST_LOOK_MS
from ingestd.producer.network.reasons import explain, is_tls_alert
from ingestd.producer.network.tokens import CredentialsError

if TYPE_CHECKING:
    from ingestd.producer.network.broker import Broker


REAUTHENTICATE_SHARE: Final = (0.85, 0.95)
"""Of a login's lifetime: a new one is begun at a random point in between, as Kafka's SaslClientAuthenticator does."""
REAUTHENTICATE_MS_MIN: Final = 1050
"""Brokers refuse a renewal within a second of the last one (KafkaChannel)."""
CREDENTIALS_RETRY_MS: Final = 1000
SETTLED_MS: Final = 5000
"""A broker that wants something else of us ends the connection long before that."""
_STAGES: Final = {
    State.NEW: "TCP connection",
    State.NEGOTIATING: "version negotiation",
    State.AUTHENTICATING: "login",
    State.REAUTHENTICATING: "renewal of the login",
}


class ConnectionLostError(Exception):
    """The connection ended before the answer came."""


class Owner(Protocol):
    """Who is told what happens on connections."""

    def connected(self, broker: "Broker") -> None:
        """``broker.connection`` is ready for requests."""

    def unreachable(self, broker: "Broker") -> None:
        """An attempt to connect failed, or the connection is gone."""

    def authenticated(self, *, again: bool) -> None:
        """A TLS handshake and a login, as far as both are wanted, went well; ``again``: a login was renewed."""

    def refused(self, error: Exception, *, again: bool) -> None:
        """A TLS handshake (ssl.SSLError) or a login (AuthenticationError) failed; ``again``: the login's renewal."""

    def writable(self, broker: "Broker") -> None:
        """The kernel has taken all that was written, or a throttle is over."""

    def produced(self, connection: "Connection", request: "Pending[Any]", frame: bytes, at: int) -> None:
        """The answer to a produce request; raises ProtocolError on foreign bytes."""

    def misdirected(self, broker: "Broker") -> None:
        """The server says that it does not belong to the cluster any more (REBOOTSTRAP_REQUIRED)."""

    def lost(self, connection: "Connection", contexts: list[Any]) -> None:
        """Produce requests that will never be answered, oldest first. Their buffers are no longer used."""


class Connection(asyncio.Protocol):
    """A TCP connection with the Kafka session on it; ``tls`` encrypts it, ``mechanism`` logs in."""

    def __init__(
        self,
        broker: "Broker",
        client_id: str,
        software_version: str,
        tls: TlsStream | None = None,
        mechanism: Mechanism | None = None,
    ) -> None:
        self.broker = broker
        self.session: Session[Any] = Session(client_id, software_version, mechanism)
        self._tls = tls
        self._secret = mechanism.secret if mechanism is not None else ""
        """What the last login sent."""
        self.encoder: produce.Encoder | None = None
        self.encoder_by_name: produce.Encoder | None = None
        """For requests with a topic whose id is not known: version 12 at most."""
        self.throttled_until_ms = 0
        self.drained = True
        self.closing = False
        self.fault: Exception | None = None
        """What ended it, where it was not the peer's silence."""
        self._ended_by_peer = False
        """In TLS's own way."""
        self._admitted = asyncio.Event()
        """Requests may be written: not while a login is being renewed. Set too when the connection is gone."""
        self.served = False
        """Some request has been answered, behind those that let us in."""
        self._left_open = False
        """For a while, without an answer: see `settle`."""
        self._ready_ms = 0
        self._renewal: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last_look = False
        """request.timeout.ms is over, and LAST_LOOK_MS are not."""
        self._last_ms = broker.clock.tick_ms()
        self.ready: asyncio.Future[None] = broker.loop.create_future()

    # -- asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        # Told about every byte that the kernel does not take at once: requests are built when it has taken all.
        self._transport.set_write_buffer_limits(high=0)  # type: ignore[union-attr]
        self.broker.loop.call_soon(self._begin)

    def _begin(self) -> None:
        """The first bytes. Not from within ``connection_made``: a peer that has gone already would end the transport
        before uvloop has returned it, and then the Python socket it was made of does not learn that its descriptor is
        closed: once collected, it closes whatever has the number by then (uvloop's issue 738)."""
        if self.closing or self.session.state is State.CLOSED:
            return
        if self._tls is None:
            self._write([self.session.start(None, self.broker.clock.tick_ms())])
            return
        try:
            self._tls.start()
        except ssl.SSLError as error:
            self._fail(error)
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            if self._tls is not None:
                data = self._decrypted(self._tls, data)
            elif self.session.state is State.NEGOTIATING and is_tls_alert(data):
                raise ConnectionLostError("it answers in TLS. Set security.protocol to SSL or SASL_SSL")
            for request, frame, at in self.session.receive(data):
                self._answered(request, frame, at)
        except RebootstrapError as error:
            self.close(str(error))
            self.broker.owner.misdirected(self.broker)
        except (ProtocolError, AuthenticationError, ConnectionLostError, ssl.SSLError) as error:
            self._fail(error)
            return
        if self._tls is not None and self._tls.closed:
            self._ended_by_peer = True
            self._fail(ConnectionLostError("closed by the broker"))

    def _decrypted(self, tls: TlsStream, data: bytes) -> bytes:
        before = tls.established
        try:
            return tls.receive(data)
        finally:
            if tls.established and not before:
                self._write([self.session.start(None, self.broker.clock.tick_ms())])
            self._flush()  # also after an error: the alert that tells the peer why

    def _answered(self, request: "Pending[Any]", frame: bytes, at: int) -> None:
        self._last_ms = self.broker.clock.tick_ms()
        if request.api_key == produce.API_KEY:
            self._serves()
            try:
                self.broker.owner.produced(self, request, frame, at)
            except ProtocolError:
                # the answer cannot be read, so its batches stay in doubt
                self.broker.owner.lost(self, [request.context])
                raise
        elif request.api_key == API_VERSIONS:
            self._go_on(self.session.negotiated(request, frame, at, self._last_ms))
        elif request.api_key in (SASL_HANDSHAKE, SASL_AUTHENTICATE):
            self._go_on(self.session.sasl_answered(request, frame, at, self._last_ms))
        else:
            self._serves()
            if not request.context.done():
                request.context.set_result((request.version, frame, at))
            # it took one of the places of max.in.flight.requests.per.connection
            self.broker.owner.writable(self.broker)

    def _serves(self) -> None:
        self.served = True
        self._absolve()

    def _absolve(self) -> None:
        if self.broker.failures:
            self.broker.recovered()

    def pause_writing(self) -> None:
        self.drained = False

    def resume_writing(self) -> None:
        self.drained = True
        if self.session.state is State.READY:
            self.broker.owner.writable(self.broker)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._renewal):
            if timer is not None:
                timer.cancel()
        stage = self.stage
        # an end at the first request: that the line was left open before says nothing about the next one
        self._left_open = self._left_open and not self.session.pending
        requests = self.session.close()
        self._admitted.set()
        fault = self.fault or exc or ConnectionLostError("closed by the broker")
        text = explain(fault, stage, self.broker.settings)
        if not self.ready.done():
            self.ready.set_exception(ConnectionLostError(text))
            self.ready.exception()  # nobody may be waiting any more
        self.broker.disconnected(self, text)
        contexts = []
        for request in requests:
            if request.api_key == produce.API_KEY:
                contexts.append(request.context)
            elif request.context is not None and not request.context.done():
                request.context.set_exception(ConnectionLostError(str(exc or "closed")))
        if contexts:
            self.broker.owner.lost(self, contexts)

    # -- the producer's calls

    @property
    def in_flight(self) -> int:
        return len(self.session.pending)

    def silent_ms(self, tick_ms: int) -> int:
        """For how long nothing has come although something is owed, a throttle left out; 0: nothing is owed."""
        owed_since_ms = self._owed_since_ms
        return 0 if owed_since_ms is None else tick_ms - max(owed_since_ms, self._last_ms)

    @property
    def _owed_since_ms(self) -> int | None:
        """Since when the oldest request waits for its answer or, without answers (acks = 0), the last one to be taken
        by the kernel; a throttled broker answers later, and its time does not count. None: nothing waits."""
        pending = self.session.pending
        if not pending and self.drained:
            return None
        return max(pending[0].sent_tick_ms if pending else self._last_ms, self.throttled_until_ms)

    def settle(self, tick_ms: int) -> None:
        """Call it once a second. Where no answer will ever tell that the broker serves us (acks = 0, or nobody asks it
        anything), that it has left the connection open for a while does."""
        ready = self.session.state is State.READY and not self.closing
        if not ready or self.served or self._left_open or tick_ms - self._ready_ms < SETTLED_MS:
            return
        owed_since_ms = self._owed_since_ms
        # on a busy line something waits for the kernel in every look, and goes out behind it
        stuck = owed_since_ms is not None and tick_ms - owed_since_ms >= SETTLED_MS
        if not self.session.pending and not stuck:
            self._left_open = True
            self._absolve()

    def can_send(self, tick_ms: int) -> bool:
        """Whether a produce request may be built now."""
        return (
            self.drained
            and len(self.session.pending) < self.broker.settings.max_in_flight_requests_per_connection
            and tick_ms >= self.throttled_until_ms
            and self.session.state is State.READY
            and not self.closing
        )

    def send_produce(
        self, topics: Sequence[tuple[produce.TopicRow, Sequence[tuple[int, memoryview]]]], by_name: bool, context: Any
    ) -> None:
        """Writes one produce request. ``context`` comes back through the owner, unless acks is 0."""
        encoder = self.encoder_by_name if by_name else self.encoder
        if encoder is None or self._transport is None:
            raise ConnectionLostError("not ready")
        tick_ms = self.broker.clock.tick_ms()
        correlation_id = self.session.expect(produce.API_KEY, encoder.version, context, tick_ms)
        if self.broker.settings.acks == 0:
            self.session.pending.pop()
            self._last_ms = tick_ms
        self._write(encoder.request(correlation_id, topics))

    async def call(self, api_key: int, encode: Callable[[int, int], bytes]) -> tuple[int, bytes, int]:
        """Any other request, made by ``encode(version, correlation_id)``.

        Returns (version, frame, offset of the body). Raises ConnectionLostError, also when the broker has no such api.
        """
        await self._admitted.wait()
        version = self.session.versions.get(api_key, -1)
        if version < 0 or self.closing or self.session.state is not State.READY:
            raise ConnectionLostError(f"api {api_key} is not to be had here")
        future: asyncio.Future[tuple[int, bytes, int]] = self.broker.loop.create_future()
        while (left_ms := self.throttled_until_ms - self.broker.clock.tick_ms()) > 0:  # noqa: ASYNC110 (it may grow)
            await asyncio.sleep(left_ms / 1000)
        if self.closing or self.session.state is not State.READY:
            raise ConnectionLostError("the connection was lost while it was throttled")
        correlation_id = self.session.expect(api_key, version, future, self.broker.clock.tick_ms())
        self._write([encode(version, correlation_id)])
        return await future

    def throttle(self, api_key: int, version: int, throttle_ms: int) -> None:
        """An answer of that api and version asked for silence on this connection (KIP-219), or says that the broker
        itself has kept silent."""
        if throttle_ms > 0 and version >= THROTTLE_SINCE[api_key]:
            until_ms = self.broker.clock.tick_ms() + throttle_ms
            self.throttled_until_ms = max(self.throttled_until_ms, until_ms)
            self.broker.loop.call_later(throttle_ms / 1000 + 0.001, self.broker.owner.writable, self.broker)

    def close(self, reason: str, *, flushed: bool = False) -> None:
        """Ends the connection; what was not answered is lost. ``flushed``: what the kernel has taken still goes out."""
        if not self.closing:
            self.closing = True
            # before it is ready, who connects says why not
            level = 10 if not self.ready.done() else 30 if self.fault else self.broker.log_level
            log.log(level, "connection to %s closed: %s", self.broker.address, reason)
        if self._transport is None:
            return
        if flushed and self.drained:
            if self._tls is not None and self._tls.established and self.fault is None:
                self._tls.close()
                self._flush()
            self._transport.close()
        else:
            self._transport.abort()

    def give_up(self, reason: str) -> None:
        """Ends the connection, since the peer does not do what it must."""
        if self.fault is None:
            self.fault = ConnectionLostError(reason)
        self.close(reason)

    @property
    def failed(self) -> bool:
        """Whether the next one is likely to end like this one did: it was cut off before it was of any use, or for a
        fault. False: we were done with it, or a broker has ended one that had answered."""
        if self.fault is None or self._ended_by_peer:
            useless = not self.served and not self._left_open
            return useless and (self._ended_by_peer or not self.closing)
        return True

    @property
    def stage(self) -> str:
        """What it is at, for people; "" where requests go to and fro."""
        if self._tls is not None and not self._tls.established:
            return "TLS handshake"
        if self.session.state is State.READY and not self.served and (self.session.pending or not self._left_open):
            return "first request"
        return _STAGES.get(self.session.state, "")

    # -- login

    def _go_on(self, step: bytes | Callable[[], None] | None) -> None:
        """Writes the next request of the conversation's beginning, or does what it asks for first; None: we are in."""
        if step is None:
            self._let_in()
        elif callable(step):
            future = in_thread(self.broker.loop, step, "ingestd-scram")
            future.add_done_callback(lambda done: self.broker.loop.call_soon(self._worked, done))
        else:
            self._write([step])

    def _worked(self, future: "asyncio.Future[None]") -> None:
        future.result()
        if self.session.state is State.CLOSED:
            return
        try:
            self._go_on(self.session.go_on(self.broker.clock.tick_ms()))
        except AuthenticationError as error:
            self._fail(error)

    def _let_in(self) -> None:
        self._admitted.set()
        if self._tls is not None or self.broker.settings.uses_sasl:
            self.broker.owner.authenticated(again=self.ready.done())
        lifetime_ms = self.session.lifetime_ms
        if lifetime_ms > 0:
            delay_ms = max(lifetime_ms * self.broker.random.uniform(*REAUTHENTICATE_SHARE), REAUTHENTICATE_MS_MIN)
            self._renewal = self.broker.loop.call_later(delay_ms / 1000, self._renew_login)
        if self.ready.done():
            self.broker.owner.writable(self.broker)
        else:
            self._negotiated()

    def _renew_login(self) -> None:
        task = self.broker.loop.create_task(self._login_again())
        self._tasks.add(task)
        task.add_done_callback(self._renewed)

    def _renewed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # our own fault, and the broker would end the connection one day
            self.broker.loop.call_exception_handler(
                {"message": f"renewing the login at {self.broker.address}", "exception": task.exception()}
            )

    async def _login_again(self) -> None:
        """KIP-368: past its lifetime the broker would close the connection at the next request."""
        try:
            mechanism = await self.broker.security.mechanism()
        except CredentialsError as error:
            log.warning("login at %s cannot be renewed yet: %s", self.broker.address, error)
            if not self.closing and self.session.state is not State.CLOSED:
                self._renewal = self.broker.loop.call_later(CREDENTIALS_RETRY_MS / 1000, self._renew_login)
            return
        if mechanism is None or self.closing or self.session.state is not State.READY:
            return
        self._admitted.clear()
        self._secret = mechanism.secret
        self._write([self.session.reauthenticate(mechanism, None, self.broker.clock.tick_ms())])

    # -- inside

    def _fail(self, error: Exception) -> None:
        """The peer, or we, cannot go on."""
        if isinstance(error, AuthenticationError) and error.credentials:
            blamed = self.broker.security.refused(self._secret)
            error = AuthenticationError(f"{error}; {blamed}", credentials=True) if blamed else error
        if self.fault is None:
            self.fault = error
            again = self.ready.done()
            # behind the handshake, too: a broker of TLS 1.3 refuses a client's certificate then
            if isinstance(error, AuthenticationError) or (isinstance(error, ssl.SSLError) and not again):
                self.broker.owner.refused(error, again=again)
        # flushed: the alert of a refused handshake goes out before the end
        self.close(explain(error, self.stage, self.broker.settings), flushed=True)

    def _negotiated(self) -> None:
        self.throttle(API_VERSIONS, self.session.api_versions_version, self.session.throttle_ms)
        version = self.session.versions[produce.API_KEY]
        settings = self.broker.settings
        client_id = self.session.client_id
        self.encoder = produce.Encoder(version, client_id, settings.acks, settings.request_timeout_ms)
        by_name = min(version, produce.TOPIC_ID_SINCE - 1)
        self.encoder_by_name = produce.Encoder(by_name, client_id, settings.acks, settings.request_timeout_ms)
        if not self.ready.done():
            self._ready_ms = self.broker.clock.tick_ms()
            self.ready.set_result(None)

    def _write(self, parts: Sequence[bytes | memoryview]) -> None:
        if self._tls is not None:
            try:
                self._tls.send(parts)
            except ssl.SSLError as error:
                self._fail(error)
            self._flush()
        elif self._transport is not None:
            self._transport.writelines(parts)
        if self._timer is None:
            self._arm(self.broker.settings.request_timeout_ms)

    def _flush(self) -> None:
        if self._tls is not None and self._transport is not None and (data := self._tls.pending()):
            self._transport.write(data)

    def _arm(self, delay_ms: int) -> None:
        self._timer = self.broker.loop.call_later(max(delay_ms, 1) / 1000, self._watch)

    def _watch(self) -> None:
        """One timer per connection: the deadline of what is owed, or the idle limit."""
        self._timer = None
        tick_ms = self.broker.clock.tick_ms()
        settings = self.broker.settings
        last_look, self._last_look = self._last_look, False
        if (owed_since_ms := self._owed_since_ms) is not None:
            left_ms = owed_since_ms + settings.request_timeout_ms - tick_ms
            if left_ms <= 0 and last_look:
                what = "answer" if self.session.pending else "progress"
                self.give_up(f"no {what} within request.timeout.ms = {settings.request_timeout_ms}")
                return
            if left_ms <= 0:
                self._last_look = True
                left_ms = LAST_LOOK_MS
        else:
            left_ms = self._last_ms + settings.connections_max_idle_ms - tick_ms
            if left_ms <= 0:
                self.close("idle", flushed=True)
                return
            left_ms = min(left_ms, settings.request_timeout_ms)
        self._arm(left_ms)
