"""The one grammar of addresses: `listen` in the configuration, `--to` of the command line, `INGESTD_ADDRESS`.

unix-stream:/run/ingestd/app.sock
unix-datagram:/run/ingestd/log.sock
udp:127.0.0.1:5514
udp:[::1]:5514
"""

import os
from typing import Literal, NamedTuple

Kind = Literal["unix-stream", "unix-datagram", "udp"]

# sockaddr_un holds 108 bytes with the closing NUL (unix(7)).
PATH_BYTES_MAX = 107
PORT_MAX = 65535

_EXAMPLES = "write unix-stream:/PATH, unix-datagram:/PATH or udp:HOST:PORT"


class Address(NamedTuple):
    """Where records go in. A Unix address has a path, a UDP address a host (IPv6 without brackets) and a port."""

    kind: Kind
    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.kind != "udp":
            return f"{self.kind}:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"udp:{host}:{self.port}"


def parse(text: str) -> Address:
    """Reads an address; raises ValueError whose text says what is wrong and what to write instead."""
    kind, colon, rest = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} has no kind in front: {_EXAMPLES}")
    if kind == "unix-stream":
        return Address("unix-stream", _path(kind, rest))
    if kind == "unix-datagram":
        return Address("unix-datagram", _path(kind, rest))
    if kind == "udp":
        host, port = _host_and_port(rest)
        return Address("udp", "", host, port)
    if kind == "tcp":
        raise ValueError(f"{text!r}: tcp is not supported yet: {_EXAMPLES}")
    raise ValueError(f"{text!r}: {kind!r} is no kind of address: {_EXAMPLES}")


def _path(kind: str, path: str) -> str:
    if not path:
        raise ValueError(f"{kind}: has no path: write {kind}:/run/ingestd/app.sock")
    if not path.startswith("/"):
        raise ValueError(
            f"{kind}:{path}: the path is not absolute: begin it with /, like {kind}:/run/ingestd/{path.strip('@')}"
        )
    if path.endswith("/"):
        raise ValueError(f"{kind}:{path} names a directory: add the socket's name, like {kind}:{path}app.sock")
    if "\0" in path:
        raise ValueError(f"{kind}: the path holds a NUL byte: take it out")
    size_bytes = len(os.fsencode(path))
    if size_bytes > PATH_BYTES_MAX:
        raise ValueError(
            f"{kind}:{path}: {size_bytes} bytes, a socket's path has at most {PATH_BYTES_MAX}: choose a shorter one"
        )
    return path


def _host_and_port(rest: str) -> tuple[str, int]:
    host, colon, port = rest.rpartition(":")
    if not colon or port.endswith("]"):
        raise ValueError(f"udp:{rest} has no port: write udp:HOST:PORT, like udp:127.0.0.1:5514")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise ValueError(f"udp:{rest}: brackets are for IPv6 addresses only: write udp:{host}:{port}")
    elif ":" in host:
        raise ValueError(f"udp:{rest}: an IPv6 address needs brackets: write udp:[{host}]:{port}")
    if not host:
        raise ValueError(
            f"udp:{rest} has no host: write udp:127.0.0.1:{port or 5514} or, for every interface, udp:0.0.0.0:PORT"
        )
    if any(character.isspace() or character in "[]/" for character in host):
        raise ValueError(f"udp:{rest}: {host!r} is no host: write a name or an address, like udp:127.0.0.1:{port}")
    try:
        host.encode("idna")  # as getaddrinfo() does
    except UnicodeError as error:
        raise ValueError(f"udp:{rest}: {host!r} is no host ({error}): write a name or an address") from None
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= PORT_MAX and len(port) <= 5):
        raise ValueError(f"udp:{rest}: {port!r} is no port: write a number from 1 to {PORT_MAX}")
    return host, int(port)
