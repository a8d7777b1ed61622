"""Senders for the tests of the running daemon: each remembers what it handed over, in order."""

import random
import socket
import threading
import time
from collections.abc import Iterator

from tests.kafka.reader import SentRecord

SEND_SECONDS_MAX = 300.0


def make_lines(sender: str, count: int, *, keys: int = 16, size: int = 100, seed: int = 0) -> Iterator[SentRecord]:
    """``count`` lines ``key TAB sender-number-filling``, ``size`` bytes each; the value is the whole line."""
    choose = random.Random(seed).randrange
    for number in range(count):
        key = b"key-%d" % choose(keys)
        value = b"%s\t%s-%07d-" % (key, sender.encode(), number)
        yield SentRecord(key, value.ljust(size, b"."))


class LineSender(threading.Thread):
    """Writes lines to a Unix stream from a thread of its own; ``sent`` grows as the kernel takes them.

    ``rate`` is records per second, 0 as fast as the daemon reads; it may be changed. :meth:`finish` waits for the end
    and raises what went wrong.
    """

    def __init__(self, path: str, records: Iterator[SentRecord], *, rate: float = 0.0, chunk: int = 64) -> None:
        super().__init__(name=f"lines-{path}", daemon=True)
        self.sent: list[SentRecord] = []
        self._path = path
        self._records = records
        self.rate = rate
        self._chunk = chunk
        self._stopping = threading.Event()
        self._error: Exception | None = None

    def run(self) -> None:
        """Until the records are used up or :meth:`finish` was called."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
                stream.settimeout(SEND_SECONDS_MAX)
                stream.connect(self._path)
                self._send(stream)
        except Exception as error:
            self._error = error

    def _send(self, stream: socket.socket) -> None:
        started = time.monotonic()
        while not self._stopping.is_set():
            chunk = [record for record, _ in zip(self._records, range(self._chunk), strict=False)]
            if not chunk:
                return
            stream.sendall(b"".join(record.value + b"\n" for record in chunk))
            self.sent.extend(chunk)
            if self.rate:
                time.sleep(max(0.0, started + len(self.sent) / self.rate - time.monotonic()))

    def finish(self, *, now: bool = False) -> list[SentRecord]:
        """Waits for the last record (with ``now``: asks for an end after the next chunk); returns what was sent."""
        if now:
            self._stopping.set()
        self.join(SEND_SECONDS_MAX)
        assert not self.is_alive(), f"{self.name} still waits with {len(self.sent)} sent"
        if self._error is not None:
            raise self._error
        return self.sent


def send_datagrams(address: str | tuple[str, int], records: Iterator[SentRecord], *, rate: float) -> list[SentRecord]:
    """Sends each value as one datagram to a Unix path or a UDP address, ``rate`` per second; returns them all."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    sent = []
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.settimeout(SEND_SECONDS_MAX)
        sender.connect(address)
        started = time.monotonic()
        for number, record in enumerate(records, 1):
            sender.send(record.value)
            sent.append(record)
            if number % 20 == 0:
                time.sleep(max(0.0, started + number / rate - time.monotonic()))
    return sent
