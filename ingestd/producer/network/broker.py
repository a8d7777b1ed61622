"""A broker: its address, and at most one connection to it, which is made anew with backoff as long as it is wanted.

Socket options are set before connecting (the kernel fixes the TCP window scale then) and read back.
"""

import asyncio
import os
import re
import socket
from collections import deque
from contextlib import suppress
from enum import Enum
from random import Random
from typing import Any, Final

from ingestd.config.model import Producer
from ingestd.figures import Trouble
from ingestd.kafka.session import State
from ingestd.kafka.tls import TlsStream
from ingestd.log import counted, printable
from ingestd.producer.common import Clock, log
from ingestd.producer.network.backoff import Backoff
from ingestd.producer.network.connection import Connection, ConnectionLostError, Owner
from ingestd.producer.network.patience import time_limit
from ingestd.producer.network.resolver import Address, addresses
from ingestd.producer.network.security import Security

KEEPALIVE_IDLE_S: Final = 60
_BUFFERS: Final = (("send.buffer.bytes", socket.SO_SNDBUF), ("receive.buffer.bytes", socket.SO_RCVBUF))
_NUMBERS: Final = re.compile(r"\d+")
_REASONS_MAX: Final = 50
"""Told in one outage: more differ in some id that stands in their text."""
_warned: Final[set[str]] = set()


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
        security: Security,
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
        self.drained_tick_ms = clock.tick_ms()
        """The sender's: when a request was last built; before the first, when this began."""
        self.phase = Phase.IDLE
        self.failures = 0
        self.log_level = 20
        self.last_error = ""
        """Why the last attempt to connect failed, or the last connection ended."""
        self._connecting_since_ms = 0
        self._away_since_ms: int | None = None
        self._tried_ms = 0
        """Monotonic, ms: see `trouble`."""
        self.random = random
        self.security = security
        self._told: set[str] = set()
        """Reasons that were logged in this outage, without the numbers in them."""
        self._client_id = client_id
        self._software_version = software_version
        self._backoff = Backoff(settings.reconnect_backoff_ms, settings.reconnect_backoff_max_ms, random)
        self._setup_failures = 0
        """Attempts in a row that ended before there was a connection: the limit for one grows with them (KIP-601)."""
        self._setup_timeout = Backoff(
            settings.socket_connection_setup_timeout_ms, settings.socket_connection_setup_timeout_max_ms, random
        )
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._waiter: asyncio.Event = asyncio.Event()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def is_ready(self) -> bool:
        return self.phase is Phase.READY

    @property
    def is_usable(self) -> bool:
        """Ready, and nothing is known that speaks against its answering."""
        return self.is_ready and self._away_since_ms is None

    @property
    def trouble(self) -> Trouble | None:
        """What keeps us from it, as far as is known; None: nothing, or nobody has tried.

        It ends with the first request that is answered, not with the connection: a broker that wants another kind of
        login lets us connect, time after time, and ends it then.
        """
        if self._away_since_ms is None:
            return None
        return Trouble(self._away_since_ms, self._tried_ms, printable(self.address), printable(self.last_error))

    def silent_ms(self, tick_ms: int) -> int:
        """For how long it has owed an answer, or kept us from asking for one where something waits for that; 0: it
        owes none."""
        if self.connection is not None:
            return self.connection.silent_ms(tick_ms)
        waited_for = self.phase is Phase.CONNECTING and self.ready_lanes
        return tick_ms - self._connecting_since_ms if waited_for else 0

    @property
    def is_left_alone(self) -> bool:
        """Neither connected nor on the way."""
        return self._task is None and self.connection is None

    def want(self) -> None:
        """Connect, if not connected or on the way; the owner is told when it is ready."""
        if self.is_left_alone and not self._closed:
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
        try:
            if self.failures:
                self.phase = Phase.WAITING
                await asyncio.sleep(self._backoff.delay_ms(self.failures) / 1000)
            self.phase = Phase.CONNECTING
            self._connecting_since_ms = self.clock.tick_ms()
            connection = await self._reach()
        except (OSError, TimeoutError, ConnectionLostError) as error:
            self._task = None
            if not self._closed:
                self._setup_failures += 1
                self._failed(error)
            return
        self._task = None
        if connection.closing or connection.session.state is State.CLOSED:
            self._failed(ConnectionLostError("closed at once"))
            return
        self.connection = connection
        self.phase = Phase.READY
        self.log_level = 20
        self._setup_failures = 0
        self._tell_waiters()
        self.owner.connected(self)

    async def _reach(self) -> Connection:
        """A connection that is ready for requests: to the first address of the host that answers.

        Every address has the whole limit to itself: one that swallows packets must not use up that of the next. So have
        TCP, and what follows it.
        """
        limit_s = self._setup_timeout.delay_ms(self._setup_failures + 1) / 1000
        async with time_limit(limit_s):
            found = await addresses(self.loop, self.host, self.port)
        last: Exception = OSError("the name has no address")
        for address in found:
            connection: Connection | None = None
            try:
                connection = await self._open(address, limit_s)
                async with time_limit(limit_s):
                    await connection.ready
                    return connection
            except (OSError, TimeoutError, ConnectionLostError) as error:
                last = error
                if not str(error):
                    stage = connection.stage if connection is not None else "TCP connection"
                    last = TimeoutError(f"{address.address[0]} did not answer in {limit_s:.1f} s ({stage})")
                if connection is not None and connection.session.state is not State.CLOSED:
                    connection.close("not ready in time")
            except BaseException:
                if connection is not None:
                    connection.close("given up")
                raise
        raise last

    def _failed(self, error: Exception) -> None:
        self._count_failure()
        self._is_away()
        self.last_error = _text(error)
        self.phase = Phase.IDLE
        # Each reason is said once per outage: a broker that is away is retried once a second for hours.
        kind = _NUMBERS.sub("", self.last_error)
        if kind not in self._told and len(self._told) < _REASONS_MAX:
            self._told.add(kind)
            log.warning("cannot connect to %s: %s", self.address, self.last_error)
        self.log_level = 10
        self._tell_waiters()
        self.owner.unreachable(self)

    def _count_failure(self) -> None:
        if not self.failures:
            self._told.clear()
        self.failures += 1

    def _is_away(self) -> None:
        self._tried_ms = self.clock.tick_ms()
        if self._away_since_ms is None:
            self._away_since_ms = self._tried_ms

    def forgive(self) -> None:
        """Whatever kept us from it does not matter any more."""
        self._away_since_ms = None

    def recovered(self) -> None:
        """The broker has answered a request, or else shows that it would (`Connection.settle`)."""
        self.forgive()
        if self._told:
            log.info("%s answers again after %s", self.address, counted(self.failures, "failure"))
            self._told.clear()
        self.failures = 0

    async def _tls(self) -> TlsStream | None:
        context = await self.security.tls_context()
        if context is None:
            return None
        try:
            return TlsStream(context, self.host.rstrip("."))
        except ValueError as error:
            # an empty name, or one that begins with a dot: metadata may name any host
            raise OSError(f"no legal host name: {error}") from error

    def _tell_waiters(self) -> None:
        waiter, self._waiter = self._waiter, asyncio.Event()
        waiter.set()

    async def _open(self, address: Address, limit_s: float) -> Connection:
        """A connection over TCP; certificates and tokens have time limits of their own."""
        tls = await self._tls()
        sock = socket.socket(address.family, address.kind, address.protocol)
        try:
            sock.setblocking(False)
            prepare(sock, self.settings)
            async with time_limit(limit_s):
                await self.loop.sock_connect(sock, address.address)
            # not before somebody is there: a token that nobody knows the end of is asked for at each login
            mechanism = await self.security.mechanism()

            def make() -> Connection:
                return Connection(self, self._client_id, self._software_version, tls, mechanism)

            _, connection = await self.loop.create_connection(make, sock=sock)
        except BaseException:
            with suppress(OSError):  # a transport that was made has closed the descriptor already
                sock.close()
            raise
        return connection

    def disconnected(self, connection: Connection, reason: str) -> None:
        """Called by the connection when it is gone."""
        if self.connection is connection:
            if not connection.closing and not self._closed:
                log.warning("connection to %s lost: %s", self.address, reason)
            self.connection = None
            self.last_error = reason
            self.phase = Phase.IDLE
            self._count_failure()
            if connection.failed:
                self._is_away()
            else:
                self.forgive()
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


def _text(error: Exception) -> str:
    """What happened, in the system's words where it has some: asyncio's own repeat the address."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number and number > 0 else str(error) or type(error).__name__


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
