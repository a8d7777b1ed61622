"""One pipelined connection to a broker: requests go out as buffers with a context, answers come back in order.

Nothing here knows batches. What the connection needs of its broker is the broker itself (address, clock, settings);
who wants to hear of it implements ``Owner``.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ingestd.kafka import produce
from ingestd.kafka.errors import ProtocolError, RebootstrapError
from ingestd.kafka.messages import API_VERSIONS
from ingestd.kafka.session import THROTTLE_SINCE, Pending, Session, State
from ingestd.producer.common import log

if TYPE_CHECKING:
    from ingestd.producer.broker import Broker


class ConnectionLostError(Exception):
    """The connection ended before the answer came."""


class Owner(Protocol):
    """Who is told what happens on connections."""

    def connected(self, broker: "Broker") -> None:
        """``broker.connection`` is ready for requests."""

    def unreachable(self, broker: "Broker") -> None:
        """An attempt to connect failed, or the connection is gone."""

    def writable(self, broker: "Broker") -> None:
        """The kernel has taken all that was written, or a throttle is over."""

    def produced(self, connection: "Connection", request: "Pending[Any]", frame: bytes, at: int) -> None:
        """The answer to a produce request; raises ProtocolError on foreign bytes."""

    def misdirected(self, broker: "Broker") -> None:
        """The server says that it does not belong to the cluster any more (REBOOTSTRAP_REQUIRED)."""

    def lost(self, connection: "Connection", contexts: list[Any]) -> None:
        """Produce requests that will never be answered, oldest first. Their buffers are no longer used."""


class Connection(asyncio.Protocol):
    """A TCP connection with the Kafka session on it."""

    def __init__(self, broker: "Broker", client_id: str, software_version: str) -> None:
        self.broker = broker
        self.session: Session[Any] = Session(client_id, software_version)
        self.encoder: produce.Encoder | None = None
        self.encoder_by_name: produce.Encoder | None = None
        """For requests with a topic whose id is not known: version 12 at most."""
        self.throttled_until_ms = 0
        self.drained = True
        self.closing = False
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last_ms = broker.clock.tick_ms()
        self.ready: asyncio.Future[None] = broker.loop.create_future()

    # -- asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        # Told about every byte that the kernel does not take at once: requests are built when it has taken all.
        self._transport.set_write_buffer_limits(high=0)  # type: ignore[union-attr]
        self._write([self.session.start(None, self.broker.clock.tick_ms())])

    def data_received(self, data: bytes) -> None:
        try:
            for request, frame, at in self.session.receive(data):
                self._answered(request, frame, at)
        except RebootstrapError as error:
            self.close(str(error))
            self.broker.owner.misdirected(self.broker)
        except ProtocolError as error:
            self.close(f"protocol error: {error}")

    def _answered(self, request: "Pending[Any]", frame: bytes, at: int) -> None:
        self._last_ms = self.broker.clock.tick_ms()
        if request.api_key == produce.API_KEY:
            self.broker.failures = 0
            try:
                self.broker.owner.produced(self, request, frame, at)
            except ProtocolError:
                # the answer cannot be read, so its batches stay in doubt
                self.broker.owner.lost(self, [request.context])
                raise
        elif request.api_key == API_VERSIONS:
            again = self.session.negotiated(request, frame, at, self._last_ms)
            if again is not None:
                self._write([again])
                return
            self._negotiated()
        else:
            if not request.context.done():
                request.context.set_result((request.version, frame, at))
                self.broker.failures = 0
            # it took one of the places of max.in.flight.requests.per.connection
            self.broker.owner.writable(self.broker)

    def pause_writing(self) -> None:
        self.drained = False

    def resume_writing(self) -> None:
        self.drained = True
        if self.session.state is State.READY:
            self.broker.owner.writable(self.broker)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        requests = self.session.close()
        if not self.ready.done():
            self.ready.set_exception(ConnectionLostError(str(exc or "closed by the broker")))
            self.ready.exception()  # nobody may be waiting any more
        self.broker.disconnected(self, str(exc) if exc else "closed by the broker")
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
        """For how long the oldest request waits for its answer, a throttle left out; 0: none does."""
        pending = self.session.pending
        return tick_ms - max(pending[0].sent_tick_ms, self.throttled_until_ms) if pending else 0

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
        self._transport.writelines(encoder.request(correlation_id, topics))
        if self._timer is None:
            self._arm(self.broker.settings.request_timeout_ms)

    async def call(self, api_key: int, encode: Callable[[int, int], bytes]) -> tuple[int, bytes, int]:
        """Any other request, made by ``encode(version, correlation_id)``.

        Returns (version, frame, offset of the body). Raises ConnectionLostError, also when the broker has no such api.
        """
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
            log.log(self.broker.log_level, "connection to %s closed: %s", self.broker.address, reason)
        if self._transport is None:
            return
        if flushed and self.drained:
            self._transport.close()
        else:
            self._transport.abort()

    # -- inside

    def _negotiated(self) -> None:
        self.throttle(API_VERSIONS, self.session.api_versions_version, self.session.throttle_ms)
        version = self.session.versions[produce.API_KEY]
        settings = self.broker.settings
        client_id = self.session.client_id
        self.encoder = produce.Encoder(version, client_id, settings.acks, settings.request_timeout_ms)
        by_name = min(version, produce.TOPIC_ID_SINCE - 1)
        self.encoder_by_name = produce.Encoder(by_name, client_id, settings.acks, settings.request_timeout_ms)
        if not self.ready.done():
            self.ready.set_result(None)

    def _write(self, parts: list[bytes]) -> None:
        if self._transport is not None:
            self._transport.writelines(parts)
        if self._timer is None:
            self._arm(self.broker.settings.request_timeout_ms)

    def _arm(self, delay_ms: int) -> None:
        self._timer = self.broker.loop.call_later(max(delay_ms, 1) / 1000, self._watch)

    def _watch(self) -> None:
        """One timer per connection: the oldest request's deadline, or the idle limit."""
        self._timer = None
        tick_ms = self.broker.clock.tick_ms()
        settings = self.broker.settings
        if self.session.pending:
            # a throttled broker answers later: its time does not count
            oldest_ms = max(self.session.pending[0].sent_tick_ms, self.throttled_until_ms)
            left_ms = oldest_ms + settings.request_timeout_ms - tick_ms
            if left_ms <= 0:
                self.close(f"no answer within request.timeout.ms = {settings.request_timeout_ms}")
                return
        else:
            left_ms = self._last_ms + settings.connections_max_idle_ms - tick_ms
            if left_ms <= 0:
                self.close("idle", flushed=True)
                return
            left_ms = min(left_ms, settings.request_timeout_ms)
        self._arm(left_ms)
