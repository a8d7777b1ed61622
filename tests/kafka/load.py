"""Senders for the tests of the running daemon: each remembers what it handed over, in order."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice

from ingestd.client import KafkaException, Producer, ProducerRecord, RecordMetadata
from ingestd.client.producer import AnswerLevel
from tests.kafka.reader import SentRecord

SEND_SECONDS_MAX = 900.0


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
            chunk = list(islice(self._records, self._chunk))
            if not chunk:
                return
            stream.sendall(b"".join(record.value + b"\n" for record in chunk))
            self.sent.extend(chunk)
            if self.rate:
                time.sleep(max(0.0, started + len(self.sent) / self.rate - time.monotonic()))

    @staticmethod
    def send_all(path: str, data: bytes) -> None:
        """Writes ``data`` over a connection of its own, and closes it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.connect(path)
            stream.sendall(data)

    def finish(self, *, now: bool = False) -> list[SentRecord]:
        """Waits for the last record (with ``now``: asks for an end after the next chunk); returns what was sent."""
        if now:
            self._stopping.set()
        self.join(SEND_SECONDS_MAX)
        assert not self.is_alive(), f"{self.name} still waits with {len(self.sent)} sent"
        if self._error is not None:
            raise self._error
        return self.sent


class SessionSender(threading.Thread):
    """Sends through ``ingestd.client`` over a session, from a thread of its own, and remembers the answers.

    ``answered`` has the metadata of each value, ``failed`` the error. A record whose send() raised was not sent.
    """

    def __init__(
        self,
        address: str,
        topic: str,
        records: Iterator[SentRecord],
        *,
        answer: AnswerLevel = "accepted",
        rate: float = 0.0,
        close_seconds: float = 60.0,
    ) -> None:
        super().__init__(name=f"session-{topic}", daemon=True)
        self.sent: list[SentRecord] = []
        self.answered: dict[bytes, RecordMetadata] = {}
        self.failed: dict[bytes, KafkaException] = {}
        self._address = address
        self._topic = topic
        self._records = records
        self._answer = answer
        self._rate = rate
        self._close_seconds = close_seconds
        self._stopping = threading.Event()
        self._gate = threading.Event()
        self._gate.set()
        self._error: Exception | None = None

    def pause(self) -> None:
        """Sends nothing, and keeps its session, until :meth:`resume`."""
        self._gate.clear()

    def resume(self) -> None:
        """Goes on after :meth:`pause`, at its rate and not with what it has missed."""
        self._gate.set()

    def run(self) -> None:
        """Until the records are used up or :meth:`finish` was called, and then until all are answered."""
        try:
            producer = Producer(self._address, answer=self._answer)
            try:
                self._send(producer)
            finally:
                producer.close(self._close_seconds)
        except Exception as error:
            self._error = error

    def _send(self, producer: Producer) -> None:
        started = time.monotonic()
        for record in self._records:
            if not self._gate.is_set():
                paused = time.monotonic()
                self._gate.wait()
                started += time.monotonic() - paused
            if self._stopping.is_set():
                return
            producer.send(ProducerRecord(self._topic, record.value, record.key), partial(self._note, record.value))
            self.sent.append(record)
            if self._rate and len(self.sent) % 20 == 0:
                time.sleep(max(0.0, started + len(self.sent) / self._rate - time.monotonic()))

    def _note(self, value: bytes, metadata: RecordMetadata | None, error: KafkaException | None) -> None:
        if metadata is not None:
            self.answered[value] = metadata
        if error is not None:
            self.failed[value] = error

    def finish(self, *, now: bool = False) -> list[SentRecord]:
        """Waits for the last answer (with ``now``: asks for an end after the next record); returns what was sent."""
        if now:
            self._stopping.set()
        self._gate.set()
        self.join(SEND_SECONDS_MAX)
        assert not self.is_alive(), f"{self.name} still waits: {len(self.answered)} of {len(self.sent)} answered"
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
