"""A TCP proxy that misbehaves on command: one listening port in front of one broker.

The verbs may be called from any thread and have taken effect when they return. Bytes of a proxied connection are never
changed or re-ordered: what a fault does not let through is lost with the connection, as on a real network.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Literal, TypeVar

Direction = Literal["requests", "answers"]
CHUNK_BYTES = 65536
Result = TypeVar("Result")


class _Link:
    """One client connection with its connection to the broker."""

    def __init__(self, client: asyncio.StreamWriter, broker: asyncio.StreamWriter) -> None:
        self.writers = (client, broker)

    def abort(self) -> None:
        """Ends both sides at once with a reset, so that nothing still queued arrives."""
        for writer in self.writers:
            raw = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            writer.transport.abort()


class FaultProxy:
    """Forwards ``port`` to ``target``; use as a context manager or call :meth:`close`.

    The listening port is bound from the start, so that a broker can be configured to advertise it; set ``target``
    before the first connection.
    """

    def __init__(self, target: int | None = None) -> None:
        self.target = target
        self.connections = 0
        self.forwarded_bytes: dict[Direction, int] = {"requests": 0, "answers": 0}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._gates: dict[Direction, asyncio.Event] = {"requests": asyncio.Event(), "answers": asyncio.Event()}
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusing = False
        self._delay_s = 0.0
        self._bytes_per_second = 0.0
        self._cut_behind: dict[Direction, int] = {}
        self._thread = threading.Thread(target=self._run, name=f"proxy-{self.port}", daemon=True)
        self._thread.start()
        self._call(self._heal)

    # -- verbs

    def cut(self) -> int:
        """Resets every connection, what is in flight is lost; new ones are let through. Returns how many there were."""
        return self._call(self._cut)

    def refuse(self) -> None:
        """Resets every connection and every new one until :meth:`heal`."""

        def change() -> None:
            self._refusing = True
            self._cut()

        self._call(change)

    def stall(self) -> None:
        """Forwards nothing in either direction, connections stay: a network that swallows packets."""

        def change() -> None:
            for gate in self._gates.values():
                gate.clear()

        self._call(change)

    def withhold_answers(self) -> None:
        """Requests reach the broker, its answers do not leave it."""
        self._call(self._gates["answers"].clear)

    def heal(self) -> None:
        """Forwards everything again, beginning with what was held back on connections that still live."""
        self._call(self._heal)

    def delay(self, seconds: float) -> None:
        """Every chunk waits this long before it is forwarded; 0 ends it."""

        def change() -> None:
            self._delay_s = seconds

        self._call(change)

    def limit(self, bytes_per_second: float) -> None:
        """A narrow line, in each direction of each connection; 0 ends it."""

        def change() -> None:
            self._bytes_per_second = bytes_per_second

        self._call(change)

    def cut_after(self, count: int, direction: Direction = "requests") -> None:
        """Forwards exactly ``count`` more bytes in this direction, over all connections, then cuts once."""

        def change() -> None:
            self._cut_behind[direction] = count

        self._call(change)

    def close(self) -> None:
        """Ends every connection and the listening socket."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._shutdown(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    def __enter__(self) -> "FaultProxy":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.close()

    # -- the loop's thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.create_task(self._serve())
        self._loop.run_forever()

    def _call(self, function: Callable[[], Result]) -> Result:
        async def run() -> Result:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    async def _serve(self) -> None:
        self._server = await asyncio.start_server(self._connected, sock=self._listener)

    async def _shutdown(self) -> None:
        self._server.close()
        self._cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _heal(self) -> None:
        self._refusing = False
        self._cut_behind.clear()
        for gate in self._gates.values():
            gate.set()

    def _cut(self) -> int:
        links = list(self._links)
        self._links.clear()
        for link in links:
            link.abort()
        return len(links)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._proxy(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing or self.target is None:
            _Link(writer, writer).abort()
            return
        try:
            broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _Link(writer, writer).abort()
            return
        link = _Link(writer, broker_writer)
        self._links.add(link)
        self.connections += 1
        pumps = [
            asyncio.ensure_future(self._pump(reader, broker_writer, "requests")),
            asyncio.ensure_future(self._pump(broker_reader, writer, "answers")),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._links.discard(link)
            broker_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                if self._bytes_per_second:
                    await asyncio.sleep(len(data) / self._bytes_per_second)
                await self._gates[direction].wait()
                left = self._cut_behind.get(direction)
                if left is not None and len(data) >= left:
                    del self._cut_behind[direction]
                    writer.write(data[:left])
                    self.forwarded_bytes[direction] += left
                    # Drained to the kernel, and given away before the reset would take it back.
                    await asyncio.sleep(0.05)
                    self._cut()
                    return
                if left is not None:
                    self._cut_behind[direction] = left - len(data)
                writer.write(data)
                self.forwarded_bytes[direction] += len(data)
                await writer.drain()
            # The end of one side is passed on; the other side may still have something to say.
            if writer.can_write_eof():
                writer.write_eof()
