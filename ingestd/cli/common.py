"""What several commands share: the configuration's argument and figures for people."""

import argparse
import socket
from pathlib import Path
from typing import Final

from ingestd.client import address as addresses
from ingestd.client.address import Address
from ingestd.client.errors import ApiException
from ingestd.errors import HostDaemonAbsentError
from ingestd.log import printable
from ingestd.metrics import REASON_TEXT, name_of

DEFAULT_CONFIGURATION: Final = "/etc/ingestd/ingestd.toml"
REASONS: Final = {name_of(reason): text for reason, text in REASON_TEXT.items()}


def add_configuration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        action="append",
        help="the configuration, with the conf.d/*.toml next to it; may be given several times, a later one overrides "
        f"earlier ones (default: {DEFAULT_CONFIGURATION})",
    )


def configuration_files(arguments: argparse.Namespace) -> list[Path]:
    """What ``-c`` names, in its order."""
    return [Path(name) for name in arguments.config or (DEFAULT_CONFIGURATION,)]


def address_argument(text: str) -> Address:
    """For argparse: what stands behind ``--to``."""
    try:
        return addresses.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def error_text(error: Exception) -> str:
    """What became of a record, safe for a terminal; a reason of the daemon's is explained."""
    told = printable(error)
    text = REASONS.get(error.reason, "") if isinstance(error, ApiException) else ""
    return f"{told} ({text})" if text and text not in told else told


def probe(address: Address) -> None:
    """HostDaemonAbsentError at once where nobody listens, rather than after the client's patience.

    On a stream it is a connection like any other, and may take the last place of a listener until it is seen to be
    closed: only for who connects again when turned away.
    """
    if address.kind == "udp":
        return
    kind = socket.SOCK_STREAM if address.kind == "unix-stream" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_UNIX, kind) as trial:
        connect(trial, address)


def connect(fresh: socket.socket, address: Address) -> None:
    """Connects to a Unix path; HostDaemonAbsentError where nobody listens, or not for us."""
    try:
        fresh.connect(address.path)
    except PermissionError as error:
        cure = "who sends there must be in the socket's group (mode and group of the listener)"
        raise HostDaemonAbsentError(f"{address}: {error.strerror}: {cure}") from None
    except OSError as error:
        raise HostDaemonAbsentError(f"no daemon at {address}: {error.strerror}") from None
