"""One pipelined connection to one broker, and the broker behind it: connecting, backoff, timeouts, throttling.

Socket options are set before connecting (the kernel fixes the TCP window scale then) and read back. Nothing here knows
batches: a produce request goes out as buffers with a context, and comes back with its answer or as lost.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from random import Random
from typing import Any, Final, Protocol

from ingestd.config.model import Producer
from ingestd.kafka import produce
from ingestd.kafka.errors import ProtocolError
from ingestd.kafka.messages import API_VERSIONS
from ingestd.kafka.session import Pending, Session, State
from ingestd.producer.backoff import Backoff
from ingestd.producer.common import Clock, log

SETUP_JITTER: Final = 0.2
KEEPALIVE_IDLE_S: Final = 60
_BUFFERS: Final = (("send.buffer.bytes", socket.SO_SNDBUF), ("receive.buffer.bytes", socket.SO_RCVBUF))
_warned: Final[set[str]] = set()


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
        correlation_id = self.session.expect(api_key, version, future, self.broker.clock.tick_ms())
        self._write([encode(version, correlation_id)])
        return await future

    def throttle(self, throttle_ms: int) -> None:
        """The broker asked for silence on this connection (KIP-219)."""
        if throttle_ms > 0:
            self.throttled_until_ms = self.broker.clock.tick_ms() + throttle_ms
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


class Phase(Enum):
    IDLE = "idle"
    CONNECTING = "connecting"
    WAITING = "waiting"
    """For the reconnect backoff to end."""
    READY = "ready"


class Broker:
    """A broker's address and at most one connection to it. ``node`` < 0: a bootstrap server."""

    def __init__(
        self,
        node: int,
        host: str,
        port: int,
        settings: Producer,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        random: Random,
        client_id: str,
        software_version: str,
    ) -> None:
        self.node = node
        self.host = host
        self.port = port
        self.settings = settings
        self.owner = owner
        self.loop = loop
        self.clock = clock
        self.connection: Connection | None = None
        self.ready_lanes: deque[Any] = deque()
        """The sender's: partitions led here that may have something to send."""
        self.phase = Phase.IDLE
        self.failures = 0
        self.log_level = 20
        self._random = random
        self._client_id = client_id
        self._software_version = software_version
        self._backoff = Backoff(settings.reconnect_backoff_ms, settings.reconnect_backoff_max_ms, random)
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._waiter: asyncio.Event = asyncio.Event()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def is_ready(self) -> bool:
        return self.phase is Phase.READY

    def want(self) -> None:
        """Connect, if not connected or on the way; the owner is told when it is ready."""
        if self._task is None and self.connection is None and not self._closed:
            self._task = self.loop.create_task(self._connect())
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            # our own fault, and nobody would ever look for this broker again
            self.loop.call_exception_handler(
                {"message": f"connecting to {self.address}", "exception": task.exception(), "task": task}
            )

    async def wait_attempt(self) -> None:
        """Until the present attempt has succeeded or failed; it may have failed already."""
        if self._task is not None:
            await self._waiter.wait()

    async def _connect(self) -> None:
        connection: Connection | None = None
        try:
            if self.failures:
                self.phase = Phase.WAITING
                await asyncio.sleep(self._backoff.delay_ms(self.failures) / 1000)
            self.phase = Phase.CONNECTING
            timeout_ms = min(
                self.settings.socket_connection_setup_timeout_ms * 2 ** min(self.failures, 10),
                self.settings.socket_connection_setup_timeout_max_ms,
            )
            jitter = self._random.uniform(1 - SETUP_JITTER, 1 + SETUP_JITTER)
            async with asyncio.timeout(timeout_ms * jitter / 1000):
                connection = await self._open()
                await connection.ready
        except (OSError, TimeoutError, ConnectionLostError) as error:
            self._task = None
            if connection is not None and connection.session.state is not State.CLOSED:
                connection.close("not ready in time")
            if not self._closed:
                self._failed(error)
            return
        self._task = None
        if connection.closing or connection.session.state is State.CLOSED:
            self._failed(ConnectionLostError("closed at once"))
            return
        self.connection = connection
        self.phase = Phase.READY
        self.log_level = 20
        self._tell_waiters()
        self.owner.connected(self)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self.phase = Phase.IDLE
        # Said once per outage: a broker that is away is retried once a second for hours.
        if self.failures == 1:
            log.warning("cannot connect to %s: %s", self.address, error or type(error).__name__)
        self.log_level = 10
        self._tell_waiters()
        self.owner.unreachable(self)

    def _tell_waiters(self) -> None:
        waiter, self._waiter = self._waiter, asyncio.Event()
        waiter.set()

    async def _open(self) -> Connection:
        """Tries every address of the host (client.dns.lookup = use_all_dns_ips)."""
        try:
            found = await self.loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            # an empty label, or one too long: metadata may name any host
            raise OSError(f"no legal host name: {error}") from error
        last: OSError = OSError("the name has no address")
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                prepare(sock, self.settings)
                await self.loop.sock_connect(sock, address)
                _, connection = await self.loop.create_connection(self._make, sock=sock)
            except OSError as error:
                sock.close()
                last = error
            except BaseException:
                sock.close()
                raise
            else:
                return connection
        raise last

    def _make(self) -> Connection:
        return Connection(self, self._client_id, self._software_version)

    def disconnected(self, connection: Connection, reason: str) -> None:
        """Called by the connection when it is gone."""
        if self.connection is connection:
            if not connection.closing and not self._closed:
                log.warning("connection to %s lost: %s", self.address, reason)
            self.connection = None
            self.phase = Phase.IDLE
            self.failures += 1
            if not self._closed:
                self.owner.unreachable(self)

    def close(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()
        self._tell_waiters()
        if self.connection is not None:
            # Without answers, what was handed to the kernel counts as delivered.
            self.connection.close("the producer closes", flushed=self.settings.acks == 0)


def prepare(sock: socket.socket, settings: Producer) -> None:
    """Options of a socket about to connect; warns once per option that the kernel capped."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    for (name, option), wanted in zip(
        _BUFFERS, (settings.send_buffer_bytes, settings.receive_buffer_bytes), strict=True
    ):
        if wanted < 0:
            continue
        sock.setsockopt(socket.SOL_SOCKET, option, wanted)
        granted = sock.getsockopt(socket.SOL_SOCKET, option) // 2  # the kernel doubles it for its own overhead
        if granted < wanted and name not in _warned:
            _warned.add(name)
            limit = "net.core.wmem_max" if option == socket.SO_SNDBUF else "net.core.rmem_max"
            log.warning("%s = %d was capped to %d by the kernel; raise %s", name, wanted, granted, limit)
