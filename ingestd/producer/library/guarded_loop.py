"""A program's event loop as a producer on it uses it: a fault of the producer's own ends the producer and nothing else.

A loop hands exceptions of callbacks and protocols to one handler, which here belongs to the program: it would log them,
and the producer would go on half alive.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, cast

Fault = Callable[[dict[str, Any]], object]


class GuardedLoop:
    """``loop`` with what a producer calls of it; ``fault(context)`` hears of exceptions, as a loop's handler does.

    Futures and tasks are the loop's own: who adds callbacks to one lets them come through ``call_soon``.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, fault: Fault) -> None:
        self._loop = loop
        self._fault = fault

    def run(self, function: Callable[..., object], *arguments: Any) -> None:
        """Calls ``function`` now, and keeps its exception from the caller."""
        try:
            function(*arguments)
        except Exception as error:
            name = getattr(function, "__qualname__", repr(function))
            self._fault({"message": f"{name} failed", "exception": error})

    # -- calls

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        return self._loop.call_soon(self.run, callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return self._loop.call_soon_threadsafe(self.run, callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self._loop.call_later(delay, self.run, callback, *args, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self._fault(context)

    # -- the loop's own

    def create_future(self) -> "asyncio.Future[Any]":
        return self._loop.create_future()

    def create_task(self, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        return self._loop.create_task(cast(Coroutine[Any, Any, Any], coro), **options)

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        return await self._loop.getaddrinfo(host, port, **options)

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> Any:
        return await self._loop.getnameinfo(sockaddr, flags)

    async def sock_connect(self, sock: Any, address: Any) -> None:
        await self._loop.sock_connect(sock, address)

    async def create_connection(
        self, protocol_factory: Callable[[], asyncio.Protocol], *, sock: Any
    ) -> tuple[asyncio.BaseTransport, asyncio.Protocol]:
        protocol = protocol_factory()
        transport, _ = await self._loop.create_connection(lambda: _GuardedProtocol(protocol, self), sock=sock)
        return transport, protocol


class _GuardedProtocol(asyncio.Protocol):
    """Hands the transport's calls on to ``protocol``; the end of the producer ends the connection behind a fault."""

    def __init__(self, protocol: asyncio.Protocol, loop: GuardedLoop) -> None:
        self._protocol = protocol
        self._run = loop.run

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._run(self._protocol.connection_made, transport)

    def data_received(self, data: bytes) -> None:
        self._run(self._protocol.data_received, data)

    def eof_received(self) -> None:
        self._run(self._protocol.eof_received)

    def pause_writing(self) -> None:
        self._run(self._protocol.pause_writing)

    def resume_writing(self) -> None:
        self._run(self._protocol.resume_writing)

    def connection_lost(self, exc: Exception | None) -> None:
        self._run(self._protocol.connection_lost, exc)
