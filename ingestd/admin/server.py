"""The HTTP server of the admin process: GET and HEAD, everything bounded. h11 knows HTTP, asyncio the sockets.

Whoever is slow or many takes nothing from others: a request has a few seconds to arrive whole, an answer to be taken;
and where more connections come than there is room for, the one that has been silent longest makes room.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import h11

from ingestd.admin.site import TEXT, Answer

logger = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 32
ACCEPTS_PER_TURN_MAX: Final = 8
"""One that has to go keeps its descriptor for some turns of the loop, in each of which as many more are accepted."""
HEAD_BYTES_MAX: Final = 8 << 10
"""Of a request: its line and its headers."""
REQUEST_SECONDS: Final = 5.0
"""From the connection, or the answer before, to the whole request."""
ANSWER_SECONDS: Final = 10.0
REQUESTS_PER_CONNECTION_MAX: Final = 100
REST_BYTES_MAX: Final = 1 << 20
REST_SECONDS: Final = 2.0
"""What is still taken of a peer behind the last answer, and for how long."""
READ_BYTES: Final = 4096
_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
)

Site = Callable[[str, str], Answer]


class Server:
    """``site(path, accept)`` makes the answers."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._waiting: dict[asyncio.StreamWriter, None] = {}
        """Connections that wait for their peer: for a request, or its end. The longest silent one first."""
        self._open = 0
        self._server: asyncio.Server | None = None

    async def start(self, listening: socket.socket) -> None:
        """Accepts on ``listening`` from now on."""
        self._server = await asyncio.start_server(
            self._serve, sock=listening, limit=HEAD_BYTES_MAX, backlog=ACCEPTS_PER_TURN_MAX
        )
        listening.listen()  # asyncio takes the same number for the kernel's queue, too short a one for a burst

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= CONNECTIONS_MAX:
            oldest = next(iter(self._waiting), None)
            if oldest is None:
                writer.transport.abort()
                return
            self._waiting.pop(oldest)
            oldest.transport.abort()
        self._open += 1
        try:
            await self._converse(reader, writer)
        except (OSError, TimeoutError):
            writer.transport.abort()
        except Exception:
            logger.exception("a request could not be answered")
            writer.transport.abort()
        finally:
            self._open -= 1
            self._waiting.pop(writer, None)
            with suppress(OSError):
                writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Told when the kernel has taken all: what a slow reader leaves is under the time limit to its last byte.
        writer.transport.set_write_buffer_limits(high=0)
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        for left in reversed(range(REQUESTS_PER_CONNECTION_MAX)):
            self._waiting[writer] = None
            try:
                async with asyncio.timeout(REQUEST_SECONDS):
                    request = await _request(http, reader)
            except h11.RemoteProtocolError as error:
                if http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                    text = f"{error}\n".encode(errors="backslashreplace")
                    await _send(http, writer, Answer(error.error_status_hint, TEXT, text), closing=True)
                    await self._take_rest(reader, writer)
                return
            self._waiting.pop(writer, None)
            if request is None:
                return
            last = not left or http.their_state is not h11.DONE
            await _send(http, writer, self._answer(request), closing=last, bodiless=request.method == b"HEAD")
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                await self._take_rest(reader, writer)
                return
            http.start_next_cycle()
            # Nothing above waits where the kernel takes the answer and the next request is here: others, the heartbeat
            # among them, have their turn in between.
            await asyncio.sleep(0)

    async def _take_rest(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A close with bytes unread is a reset, which may take the answer from a peer that has not read it yet."""
        self._waiting[writer] = None
        writer.write_eof()
        taken = 0
        async with asyncio.timeout(REST_SECONDS):
            while taken < REST_BYTES_MAX and (chunk := await reader.read(READ_BYTES)):
                taken += len(chunk)

    def _answer(self, request: h11.Request) -> Answer:
        if request.method not in (b"GET", b"HEAD"):
            return Answer(405, TEXT, b"only GET and HEAD\n")
        accept = b",".join(value for name, value in request.headers if name == b"accept")
        path = request.target.partition(b"?")[0]
        return self._site(path.decode("ascii", "replace"), accept.decode("latin-1"))


async def _request(http: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """The next request; None: the peer has gone. A body is none of ours: who sends one is answered and closed."""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(READ_BYTES))
        elif isinstance(event, h11.Request):
            http.next_event()  # its end, if it has no body
            return event
        else:
            return None


async def _send(
    http: h11.Connection, writer: asyncio.StreamWriter, answer: Answer, *, closing: bool, bodiless: bool = False
) -> None:
    headers = [
        ("Content-Type", answer.content_type),
        ("Content-Length", str(len(answer.body))),
        *_HEADERS,
        *((("Allow", "GET, HEAD"),) if answer.status == 405 else ()),
        *((("Connection", "close"),) if closing else ()),
    ]
    parts = [
        http.send(h11.Response(status_code=answer.status, headers=headers, reason=HTTPStatus(answer.status).phrase)),
        None if bodiless else http.send(h11.Data(data=answer.body)),
        http.send(h11.EndOfMessage()),
    ]
    writer.write(b"".join(part for part in parts if part))
    async with asyncio.timeout(ANSWER_SECONDS):
        await writer.drain()
