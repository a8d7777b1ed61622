"""TLS on one connection, without I/O: ciphertext in, plain text out, and the other way round.

Why not the event loop's own TLS: a loop keeps what it is given until it is encrypted, so that a memoryview of the arena
would be held for as long as a slow peer likes. Here ``send`` has encrypted everything when it returns, and the views
are free; the ciphertext waits in the socket's transport, by whose level the producer goes anyway.
"""

import ssl
from collections.abc import Iterable
from typing import Final

_READ_BYTES: Final = 1 << 16


class TlsStream:
    """The client's side. ``server_hostname`` is checked as ``context.check_hostname`` says.

    Every call may leave bytes to be written: ``pending`` gives them, also after an ssl.SSLError (the alert that tells
    the peer why). ssl.SSLError: handshake or record refused; the connection must be closed.
    """

    def __init__(self, context: ssl.SSLContext, server_hostname: str) -> None:
        self.established = False
        self.closed = False
        """The peer has said that nothing more comes."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)

    def start(self) -> None:
        """Makes the first bytes of the handshake."""
        self._shake_hands()

    def _shake_hands(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.established = True

    def receive(self, data: bytes) -> bytes:
        """Takes bytes from the socket; returns the plain text that they complete."""
        self._incoming.write(data)
        if not self.established:
            self._shake_hands()
            if not self.established:
                return b""
        found = []
        try:
            while plain := self._object.read(_READ_BYTES):
                found.append(plain)
            self.closed = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.closed = True
        return found[0] if len(found) == 1 else b"".join(found)

    def send(self, parts: Iterable[bytes | memoryview]) -> None:
        """Encrypts ``parts``; nothing of them is held any more when this returns."""
        for part in parts:
            size = len(part)
            at = self._object.write(part) if size else 0
            if at < size:
                with memoryview(part) as view:
                    while at < size:
                        with view[at:] as rest:
                            at += self._object.write(rest)

    def pending(self) -> bytes:
        """What must be written to the socket."""
        return self._outgoing.read()

    def close(self) -> None:
        """Makes the end that tells the peer that nothing was cut off."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            # "want read": the peer's own end is not waited for
            return

    @property
    def version(self) -> str:
        """``TLSv1.3``, say; "" before the handshake is done."""
        return self._object.version() or ""
