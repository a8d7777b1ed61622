"""Tells systemd how the daemon is (sd_notify(3)); says nothing where no systemd listens."""

import contextlib
import os
import socket
from collections.abc import Mapping


def watchdog_interval_ms(environ: Mapping[str, str], pid: int) -> int:
    """How often systemd hears from us: half of ``WATCHDOG_USEC`` (sd_watchdog_enabled(3)); 0 without a watchdog."""
    try:
        if int(environ.get("WATCHDOG_PID", pid)) != pid:
            return 0
        return int(environ.get("WATCHDOG_USEC", "0")) // 2000
    except ValueError:
        return 0


def notify_address(environ: Mapping[str, str]) -> str | None:
    """The address of ``NOTIFY_SOCKET``: a path, or an abstract name (``@`` becomes a zero byte); None without one."""
    address = environ.get("NOTIFY_SOCKET", "")
    if address.startswith("@"):
        return "\0" + address[1:]
    return address if address.startswith("/") else None


class Notifier:
    """The way to systemd; one datagram per call, lost without complaint when systemd is busy or away."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = notify_address(environ)
        self._status = ""

    def _send(self, text: str) -> None:
        if self._address is None:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as channel:
            channel.sendto(text.encode(), self._address)

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """One line for ``systemctl status``; sent only when it changed."""
        if status != self._status:
            self._status = status
            self._send(f"STATUS={status}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1\nSTATUS=draining")
