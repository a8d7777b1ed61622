"""Tells systemd how the daemon is (sd_notify(3)); says nothing where no systemd listens."""

import os
import socket
from collections.abc import Mapping
from typing import Final

START_PATIENCE_MS: Final = 30_000
"""A supervisor that says nothing for so long before it was ready is hung: systemd's watchdog begins with READY only."""
ALIVE_RETRY_MS: Final = 500
"""A word for the watchdog that systemd had no room for is said again so much later: two lost ones would be our end."""


def watchdog_interval_ms(environ: Mapping[str, str], pid: int) -> int:
    """How often systemd hears from us: half of ``WATCHDOG_USEC`` (sd_watchdog_enabled(3)); 0 without a watchdog."""
    try:
        if int(environ.get("WATCHDOG_PID", pid)) != pid:
            return 0
        return int(environ.get("WATCHDOG_USEC", "0")) // 2000
    except ValueError:
        return 0


def next_alive_ms(tick_ms: int, interval_ms: int, *, heard: bool) -> int:
    """When systemd's watchdog hears from us next, told at ``tick_ms`` with this success."""
    return tick_ms + (interval_ms if heard else min(interval_ms, ALIVE_RETRY_MS))


def notify_address(environ: Mapping[str, str]) -> str | None:
    """The address of ``NOTIFY_SOCKET``: a path, or an abstract name (``@`` becomes a zero byte); None without one."""
    address = environ.get("NOTIFY_SOCKET", "")
    if address.startswith("@"):
        return "\0" + address[1:]
    return address if address.startswith("/") else None


class Notifier:
    """The way to systemd, one datagram per call. When systemd is busy or away it is lost without complaint, but for
    a new state (ready, stopping), which is kept for :meth:`catch_up`, and for :meth:`alive`.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = notify_address(environ)
        self._status = ""
        self._owed = ""

    def _send(self, text: str) -> bool:
        """Whether systemd has it, if there is one."""
        if self._address is None:
            return True
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            with socket.socket(socket.AF_UNIX, kind) as channel:
                channel.sendto(text.encode(), self._address)
        except OSError:
            return False
        return True

    def catch_up(self) -> None:
        """Sends the state that systemd could not take; call it now and then."""
        if self._owed and self._send(self._owed):
            self._owed = ""

    def starting(self, status: str) -> None:
        """Not ready yet, and alive: systemd waits START_PATIENCE_MS from here, or as long as it would have anyway."""
        self._send(f"EXTEND_TIMEOUT_USEC={START_PATIENCE_MS * 1000}\nSTATUS={status}")

    def ready(self, status: str) -> None:
        self._owed = f"READY=1\nSTATUS={status}"
        self.catch_up()

    def status(self, status: str) -> None:
        """One line for ``systemctl status``; sent only when it changed."""
        if status != self._status:
            self._status = status
            self._send(f"STATUS={status}")

    def alive(self) -> bool:
        """For the watchdog. False: systemd has not heard it, say it again at :func:`next_alive_ms`."""
        return self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._owed = "STOPPING=1\nSTATUS=draining"
        self.catch_up()
