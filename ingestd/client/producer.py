"""Producer: Kafka's producer as applications know it, with the daemon of this host behind it.

with Producer("unix-stream:/run/ingestd/app.sock") as producer:
    producer.send(ProducerRecord("orders", "fire and forget"))
    metadata = producer.send(ProducerRecord("orders", "synchronous")).result(timeout=10)
    producer.send(ProducerRecord("orders", "asynchronous"), callback=lambda metadata, error: ...)
"""

import atexit
import os
from os import getpid
from struct import error as StructError  # noqa: N812
from time import time_ns
from types import TracebackType
from typing import Final, Literal, Self

from ingestd.client import address as addresses
from ingestd.client.address import Address
from ingestd.client.datagrams import DatagramSession
from ingestd.client.encoding import FRAME_ENVELOPE_BYTES, TOPIC_BYTES_MAX, encode_record
from ingestd.client.errors import ConfigException, InvalidTopicException, TimeoutException
from ingestd.client.frame import ANSWER_ACCEPTED, ANSWER_DELIVERED, ANSWER_NONE, NAME_BYTES_MAX
from ingestd.client.future import Callback, Future
from ingestd.client.loop import Loop
from ingestd.client.records import ProducerRecord
from ingestd.client.route import Route
from ingestd.client.serializers import Serializer, serialize
from ingestd.client.session import Session

AnswerLevel = Literal["none", "accepted", "delivered"]

_ANSWERS: Final = {"none": ANSWER_NONE, "accepted": ANSWER_ACCEPTED, "delivered": ANSWER_DELIVERED}

# A datagram that a lost fragment cannot take along: Ethernet's 1500 bytes without IP and UDP headers, with room for a
# tunnel's. The daemon takes any size; a record that needs more gets it.
UDP_DATAGRAM_BYTES: Final = 1400
UDP_DATAGRAM_BYTES_MAX: Final = 65507
UNIX_DATAGRAM_BYTES: Final = 16 << 10
UNIX_DATAGRAM_BYTES_MAX: Final = 65535

CLOSE_TIMEOUT_S: Final = 90.0
"""Above the daemon's default of max.block.ms, after which it answers records of a topic that it cannot find."""
EXIT_TIMEOUT_S: Final = 10.0


class Producer:
    """Sends records to ingestd. Thread-safe: one for the whole process is best.

    send() may also come in the middle of anything, the producer's own code included: from a signal handler, from
    `__del__` and other finalizers. There, as in a callback, it takes the record or raises at once, where waiting for
    room would keep the producer's thread from making it; and what only waits (result(), flush(), close()) raises
    IllegalStateException. A handler that interrupted other code may wait. In a forked child every call raises
    IllegalStateException but close(), which does nothing, and what asks for outcomes that were known: make another
    producer there.

    `address`: where the daemon listens (`unix-stream:PATH`, `unix-datagram:PATH`, `udp:HOST:PORT`); without it the
    environment's INGESTD_ADDRESS. `answer`: when a record's future is done: "delivered" (it is in Kafka: partition and
    offset), "accepted" (the daemon has it safe), "none" (the kernel has it; what happens later is not told). The
    default is "delivered", on datagrams "none", which is all they can.

    Serializers: see `ingestd.client.serializers`; without one, bytes go as they are and text as UTF-8.
    `buffer_memory` bytes bound what is unanswered; `max_block_ms` how long send() waits for room or for the first
    connection; `batch_size` bytes and `linger_ms` shape frames: more is gathered only while the socket is busy, or
    for linger_ms, unless a batch is full or somebody waits for room. `client_id` names this sender in the daemon's logs
    (level debug). Raises ConfigException, which is a ValueError.
    """

    def __init__(
        self,
        address: str | Address | None = None,
        *,
        answer: AnswerLevel | None = None,
        key_serializer: Serializer | None = None,
        value_serializer: Serializer | None = None,
        client_id: str = "",
        max_block_ms: int = 60_000,
        buffer_memory: int = 33_554_432,
        batch_size: int = 65_536,
        linger_ms: int = 0,
        reconnect_backoff_ms: int = 20,
        reconnect_backoff_max_ms: int = 1_000,
    ) -> None:
        where = _address(address)
        _check_numbers(
            0,
            max_block_ms=max_block_ms,
            linger_ms=linger_ms,
            reconnect_backoff_ms=reconnect_backoff_ms,
            reconnect_backoff_max_ms=reconnect_backoff_max_ms,
        )
        _check_numbers(1, buffer_memory=buffer_memory, batch_size=batch_size)
        _check_client_id(client_id)
        session, batch_bytes = _session(where, answer, client_id, batch_size)
        route = Route(where.path, reconnect_backoff_ms, reconnect_backoff_max_ms, _jitter)
        self._key_serializer = key_serializer
        self._value_serializer = value_serializer
        self._max_block_s = max_block_ms / 1000
        self._loop = Loop(where, session, buffer_memory, batch_bytes, linger_ms, route)
        self._owner = self._loop.owner
        self._pid = self._owner.pid
        self._put = self._loop.outbox.put
        self._topic = ""  # the last one that was checked
        self._closed = False
        self._loop.start()
        atexit.register(self._at_exit)

    def send(self, record: ProducerRecord, callback: Callback | None = None) -> Future:
        """Hands a record over, and returns at once as long as there is room; its outcome comes with the future.

        `callback(metadata, exception)`, one of them None, is called in the producer's own thread, in the order of the
        records of a partition; it must be quick, and cannot wait for the producer. Waits at most max_block_ms, then
        raises TimeoutException; also SerializationException, InvalidTopicException, RecordTooLargeException,
        IllegalStateException, and ValueError or TypeError for fields that no record can have. A call that raises has
        sent nothing, and the producer can be used on (unless it has ended by itself). What interrupts it, such as
        KeyboardInterrupt, may come when the record is handed over already; the producer can be used on then, too.
        """
        if getpid() != self._pid:
            self._owner.check_process()
        topic = record.topic
        if topic is not self._topic:
            _check_topic(topic)
            self._topic = topic
        headers = record.headers
        key = record.key
        if (key is not None and type(key) is not bytes) or self._key_serializer is not None:
            key = serialize(self._key_serializer, topic, key, headers, "key")
        value = record.value
        if (value is not None and type(value) is not bytes) or self._value_serializer is not None:
            value = serialize(self._value_serializer, topic, value, headers, "value")
        timestamp_ms = record.timestamp_ms
        if timestamp_ms is None:
            timestamp_ms = time_ns() // 1_000_000
        try:
            encoded = encode_record(value, key, record.partition, timestamp_ms, headers)
        except StructError as error:
            raise ValueError(f"a field of a record for {topic!r} is out of bounds: {error}") from None
        key_size = -1 if key is None else len(key)
        future = Future(self._owner, topic, timestamp_ms, key_size, -1 if value is None else len(value), callback)
        self._put((encoded, future), self._max_block_s)
        return future

    def flush(self, timeout: float | None = None) -> None:
        """Waits until every record sent before has its outcome; after `timeout` seconds TimeoutException."""
        self._owner.check_may_wait()
        request = self._loop.flush()
        if not request.wait(timeout):
            raise TimeoutException(f"not everything was answered within {timeout} s; it goes on")
        if request.error is not None:
            raise request.error.with_traceback(None)

    def close(self, timeout: float | None = CLOSE_TIMEOUT_S) -> None:
        """Sends what is there, waits for its answers, ends the session. Again: does nothing.

        What is not answered within `timeout` seconds (None or infinity: for ever) fails in its future and callback, and
        close() raises TimeoutException with their number: no record is forgotten in silence. If the producer had to end
        by itself, it raises why. In a forked child it does nothing.
        """
        if self._closed or getpid() != self._pid:
            return
        self._owner.check_may_wait()
        self._loop.close(timeout)
        self._owner.join(timeout)
        self._closed = True
        atexit.unregister(self._at_exit)
        if self._loop.failure is not None:
            raise self._loop.failure.with_traceback(None)
        if self._loop.unanswered:
            raise TimeoutException(f"records not answered within {timeout} s: {self._loop.unanswered}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _at_exit(self) -> None:
        # Whoever forgot to close still gets delivered what was sent, or is told on stderr.
        self.close(EXIT_TIMEOUT_S)


def _check_topic(topic: str) -> None:
    """Refuses what no frame can carry. Which names are legal beyond that is the daemon's to say."""
    if not isinstance(topic, str):
        raise TypeError(f"a topic is a str, not {type(topic).__name__}")
    try:
        size_bytes = len(topic.encode())
    except UnicodeEncodeError as error:
        raise InvalidTopicException(f"a topic's name that cannot be written as UTF-8: {error}") from None
    if not 1 <= size_bytes <= TOPIC_BYTES_MAX:
        raise InvalidTopicException(f"a topic's name of {size_bytes} bytes: it has 1 to {TOPIC_BYTES_MAX}")


def _check_client_id(client_id: str) -> None:
    try:
        size_bytes = len(client_id.encode())
    except UnicodeEncodeError as error:
        raise ConfigException(f"client_id cannot be written as UTF-8: {error}") from None
    if size_bytes > NAME_BYTES_MAX:
        raise ConfigException(f"client_id of {size_bytes} bytes: give at most {NAME_BYTES_MAX}")


def _check_numbers(least: int, **numbers: int) -> None:
    for name, number in numbers.items():
        if not isinstance(number, int) or number < least:
            raise ConfigException(f"{name}={number!r}: give a whole number, {least} or more")


def _jitter() -> float:
    return os.urandom(1)[0] / 255


def _address(address: str | Address | None) -> Address:
    if isinstance(address, Address):
        address = str(address)  # it may have been put together by hand
    if address is None:
        address = os.environ.get("INGESTD_ADDRESS", "")
        if not address:
            raise ConfigException(
                "no address: give one, like unix-stream:/run/ingestd/app.sock, or set INGESTD_ADDRESS"
            )
    try:
        return addresses.parse(address)
    except ValueError as error:
        raise ConfigException(str(error)) from None


def _session(where: Address, answer: str | None, client_id: str, batch_size: int) -> tuple[Session, int]:
    """The session for an address, and how many bytes of records a frame of it gathers."""
    if where.kind != "unix-stream":
        if answer not in (None, "none"):
            raise ConfigException(f"answer={answer!r}: datagrams are not answered; use a unix-stream address")
        unix = where.kind == "unix-datagram"
        size_bytes, size_bytes_max = (
            (UNIX_DATAGRAM_BYTES, UNIX_DATAGRAM_BYTES_MAX) if unix else (UDP_DATAGRAM_BYTES, UDP_DATAGRAM_BYTES_MAX)
        )
        return DatagramSession(size_bytes_max), min(batch_size, size_bytes - FRAME_ENVELOPE_BYTES)
    if answer is None:
        answer = "delivered"
    if answer not in _ANSWERS:
        raise ConfigException(f"answer={answer!r}: give one of {', '.join(_ANSWERS)}")
    return Session(_ANSWERS[answer], client_id), batch_size
