"""From host names to addresses, as client.dns.lookup says. Every failure is an OSError."""

import asyncio
import socket
from typing import Any, NamedTuple


class Address(NamedTuple):
    """What a socket is made of and connected to."""

    family: int
    kind: int
    protocol: int
    address: Any


async def addresses(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[Address]:
    """All addresses of ``host``, at least one, in the order in which the system would try them (RFC 6724)."""
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        # an empty label, or one too long: metadata may name any host
        raise OSError(f"no legal host name: {error}") from error
    except RuntimeError as error:
        # asyncio's own loop looks names up in threads, and the host may start none
        raise OSError(f"the name cannot be looked up now: {error}") from error
    if not found:
        raise OSError("the name has no address")
    return [Address(family, kind, protocol, address) for family, kind, protocol, _, address in found]


async def canonical_names(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[str]:
    """The names of the hosts behind an alias, one per address; an address without a name stands for itself
    (Kafka: ClientUtils, InetAddress.getCanonicalHostName)."""
    names = [(await loop.getnameinfo(one.address))[0] for one in await addresses(loop, host, port)]
    return list(dict.fromkeys(names))
