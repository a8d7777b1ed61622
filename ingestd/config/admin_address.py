"""Where the admin process listens: ``127.0.0.1:9464``, ``[::1]:9464``, a name with a port, or ``unix-stream:PATH``."""

from typing import NamedTuple

from ingestd.client import address as addresses
from ingestd.config.faults import RefusedError
from ingestd.config.values import Kind

_CURE = 'Write it like "127.0.0.1:9464", "[::1]:9464" or "unix-stream:/run/ingestd/admin.sock"'


class AdminAddress(NamedTuple):
    """A path, or a host (IPv6 without brackets) and a port."""

    path: str
    host: str
    port: int

    def __str__(self) -> str:
        if self.path:
            return f"unix-stream:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str) -> AdminAddress:
    """Reads an address; RefusedError says what is wrong and what to write instead."""
    unix = text.startswith("unix-")
    try:
        found = addresses.parse(text if unix else f"udp:{text}")
    except ValueError as refused:
        # What the grammar of listeners advises is not for here.
        said = str(refused).partition(": write ")[0]
        raise RefusedError(said if unix else said.replace("udp:", ""), _CURE) from None
    if found.kind == "unix-datagram":
        raise RefusedError("HTTP needs a stream", _CURE)
    return AdminAddress(found.path, found.host, found.port)


def kind() -> Kind:
    """Kind of the setting; its value is the address as text, written the one way."""

    def read(value: object) -> object:
        if not isinstance(value, str) or not value.isprintable():
            raise RefusedError("not an address", _CURE)
        return str(parse(value))

    return Kind("string", "HOST:PORT, unix-stream:PATH", read)
