"""``ingestd send``: ships lines from files or stdin to a daemon.

With the format frames (the native protocol) each line becomes a record of ``--topic``, with answers if asked for; with
the format lines the bytes go as they are, to listeners that choose the topic themselves: a stream of lines, or one
datagram a line (which is what raw listeners take, too).
"""

import argparse
import errno
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import BinaryIO, Final

from ingestd.cli.common import address_argument, connect, error_text, probe
from ingestd.client import KafkaException, Producer, ProducerRecord, RecordMetadata
from ingestd.client.address import Address
from ingestd.client.errors import OutcomeUnknownException, TimeoutException
from ingestd.client.producer import AnswerLevel
from ingestd.errors import ExitStatus, HostDaemonAbsentError, HostError, OperatorError
from ingestd.limits import DATAGRAM_BYTES_MAX, LINE_BYTES_MAX
from ingestd.log import printable

CHUNK_BYTES: Final = 256 << 10
ERRORS_SHOWN_MAX: Final = 20
INTERRUPTED_CLOSE_S: Final = 2.0
"""For what is under way when somebody presses Ctrl-C."""
STDIN: Final = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to",
        metavar="ADDRESS",
        type=address_argument,
        default=os.environ.get("INGESTD_ADDRESS") or None,
        help="unix-stream:PATH, unix-datagram:PATH or udp:HOST:PORT (default: INGESTD_ADDRESS)",
    )
    parser.add_argument("--topic", metavar="TOPIC", help="the topic (format frames)")
    parser.add_argument("--key", metavar="KEY", help="the key of every record (format frames; default: none)")
    parser.add_argument(
        "--ack",
        choices=("none", "accepted", "delivered"),
        help="what is waited for; delivered prints topic, partition and offset of every record"
        " (default: accepted, on datagrams and with the format lines none)",
    )
    parser.add_argument(
        "--format", choices=("frames", "lines"), help="what the listener reads; raw ones take lines (default: frames)"
    )
    parser.add_argument("--rate", metavar="N", type=_rate, default=0.0, help="records per second at most")
    parser.add_argument("files", metavar="FILE", nargs="*", default=[STDIN], help="default: stdin, also named -")
    parser.set_defaults(refuse=parser.error)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no rate: give a number above 0")
    return rate


def execute(arguments: argparse.Namespace) -> int:
    """0: every line was sent and answered as asked for; 1: some were not; 75: there is no daemon at the address, or it
    has gone, or has not answered in time.
    """
    _check(arguments)
    if arguments.format == "lines" and arguments.to.kind == "unix-stream":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            connect(stream, arguments.to)
            return _told(partial(_send_stream, stream), arguments)
    probe(arguments.to)
    return _told(_send_frames if arguments.format == "frames" else _send_datagrams, arguments)


def _check(arguments: argparse.Namespace) -> None:
    """What argparse cannot tell: contradictions between arguments end the command with status 2."""
    if arguments.to is None:
        arguments.refuse("no address: give --to, or set INGESTD_ADDRESS")
    chosen = arguments.format is not None
    arguments.format = arguments.format or "frames"
    if arguments.format == "frames" and not arguments.topic:
        arguments.refuse("the format frames needs --topic")
    if arguments.format == "lines" and (arguments.topic or arguments.key is not None):
        arguments.refuse("with the format lines the listener chooses topic and key: leave out --topic and --key")
    if arguments.ack not in (None, "none") and (arguments.format == "lines" or arguments.to.kind != "unix-stream"):
        arguments.refuse(f"--ack {arguments.ack} needs the format frames and a unix-stream address")
    if STDIN in arguments.files and sys.stdin is None:
        raise OperatorError("cannot read stdin: it is closed")
    for name in arguments.files:
        # Before anything is sent: a misspelt second file must not leave the first one shipped.
        if name != STDIN and (reason := _unreadable(name)):
            raise OperatorError(f"cannot read {printable(name)}: {reason}")
    if not chosen and arguments.to.kind != "unix-stream":
        # Nothing is answered there: a listener of another format takes frames for records, and nobody hears of it.
        print("ingestd send: note: sends frames; a listener of raw or lines takes --format lines", file=sys.stderr)


def _unreadable(name: str) -> str:
    """Why the file cannot be read; "" where it can, as far as is seen without opening it."""
    try:
        os.stat(name)  # noqa: PTH116 (a name of the command line)
    except OSError as error:
        return error.strerror or str(error)
    return "" if os.access(name, os.R_OK) else os.strerror(errno.EACCES)


class Pace:
    """Holds a sender to a rate, in steps short enough that no burst overruns a datagram socket."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._started = time.monotonic()
        self._sent = 0

    def sent(self, count: int = 1) -> None:
        """``count`` records went out; waits if that was early."""
        if not self._rate:
            return
        self._sent += count
        early = self._started + self._sent / self._rate - time.monotonic()
        if early > 0:
            time.sleep(early)


def _open(name: str) -> AbstractContextManager[BinaryIO]:
    if name == STDIN:
        return nullcontext(sys.stdin.buffer)  # which may be named twice, and is at its end then
    try:
        return open(name, "rb")  # noqa: PTH123 (its reader closes it)
    except OSError as error:
        raise OperatorError(f"cannot read {printable(name)}: {error.strerror}") from None


def _lines(names: list[str]) -> Iterator[bytes | None]:
    """Every line of the files without its newline; None for one that is larger than a line may be."""
    for name in names:
        with _open(name) as file:
            while line := file.readline(LINE_BYTES_MAX + 1):
                whole = line.endswith(b"\n")
                if not whole and len(line) > LINE_BYTES_MAX:
                    while line and not line.endswith(b"\n"):
                        line = file.readline(CHUNK_BYTES)
                    yield None
                    continue
                yield line[:-1] if whole else line


class Tally:
    """What became of the lines; called back from the client's thread."""

    def __init__(self, *, tell_offsets: bool) -> None:
        self.sent = 0
        self.failed = 0
        self.begun = 0
        """Handed over to the client."""
        self.answered = 0
        """Of those."""
        self.cut_short = False
        self.unheard: Exception | None = None
        """Why offsets cannot be told any more."""
        self._tell_offsets = tell_offsets
        self._unknown_error: Exception | None = None

    def done(self, metadata: RecordMetadata | None, error: KafkaException | None) -> None:
        if isinstance(error, OutcomeUnknownException) and not error.reason:
            self._unknown_error = self._unknown_error or error
            return
        self.answered += 1
        if error is not None:
            self.refused(error)
        elif metadata is not None:
            self.sent += 1
            if self._tell_offsets and self.unheard is None:
                self._tell_offset(metadata)

    def _tell_offset(self, metadata: RecordMetadata) -> None:
        try:
            sys.stdout.write(f"{metadata.topic}\t{metadata.partition}\t{metadata.offset}\n")
        except (BrokenPipeError, OperatorError) as error:
            # For the thread that sends: in this one, the client's, it would be logged and nothing would end.
            self.unheard = error

    def refused(self, error: Exception | str) -> None:
        self.failed += 1
        if self.failed <= ERRORS_SHOWN_MAX:
            text = error if isinstance(error, str) else error_text(error)
            print(f"ingestd send: {text}", file=sys.stderr)

    @property
    def unknown(self) -> int:
        """Records of which nobody has said what became of them. Right once the client is closed."""
        return self.begun - self.answered

    @property
    def well(self) -> bool:
        return not (self.failed or self.unknown or self.cut_short)

    def tell(self) -> None:
        """Says the sum."""
        if self._unknown_error is not None:
            print(f"ingestd send: {error_text(self._unknown_error)}", file=sys.stderr)
        unknown = f", {self.unknown} without an answer: they may be in Kafka, or arrive yet" if self.unknown else ""
        print(f"ingestd send: {self.sent} sent, {self.failed} failed{unknown}", file=sys.stderr)


def _told(send: Callable[[argparse.Namespace, Pace, Tally], None], arguments: argparse.Namespace) -> int:
    """Sends, says what became of the lines, and gives the exit status."""
    tally = Tally(tell_offsets=arguments.ack == "delivered")
    try:
        send(arguments, Pace(arguments.rate), tally)
    finally:
        # Also for who interrupts it: what was sent cannot be taken back.
        tally.tell()
    if tally.unheard is not None:
        raise tally.unheard
    return ExitStatus.DONE if tally.well else ExitStatus.FAILED


def _send_frames(arguments: argparse.Namespace, pace: Pace, tally: Tally) -> None:
    streams = arguments.to.kind == "unix-stream"
    ack: AnswerLevel = arguments.ack or ("accepted" if streams else "none")
    key = None if arguments.key is None else os.fsencode(arguments.key)
    try:
        with Producer(arguments.to, answer=ack, client_id="ingestd-send") as producer:
            try:
                for line in _lines(arguments.files):
                    if tally.unheard is not None:
                        break
                    _send_line(producer, arguments.topic, key, line, tally)
                    pace.sent()
            except KeyboardInterrupt:
                with suppress(KafkaException):
                    producer.close(INTERRUPTED_CLOSE_S)
                raise
    except TimeoutException as error:
        raise HostError(f"{arguments.to}: {error}") from None
    except KafkaException as error:
        # The client ended by itself, and says why once more: its records have failed, and are counted.
        print(f"ingestd send: {arguments.to}: {error_text(error)}", file=sys.stderr)
        tally.cut_short = True


def _send_line(producer: Producer, topic: str, key: bytes | None, line: bytes | None, tally: Tally) -> None:
    if line is None:
        tally.refused(f"a line is larger than {LINE_BYTES_MAX} bytes")
        return
    tally.begun += 1
    try:
        producer.send(ProducerRecord(topic, line, key), callback=tally.done)
    except KafkaException as error:
        tally.begun -= 1
        if isinstance(error, TimeoutException):
            raise
        tally.refused(error)


def _send_stream(stream: socket.socket, arguments: argparse.Namespace, pace: Pace, tally: Tally) -> None:
    """Bytes as they are; a missing newline at the end of a file is added, so that files do not run together."""
    chunk_bytes = 4096 if arguments.rate else CHUNK_BYTES
    try:
        for name in arguments.files:
            last = b"\n"
            with _open(name) as file:
                while chunk := _read_some(file, chunk_bytes):
                    stream.sendall(chunk)
                    last = chunk[-1:]
                    tally.sent += chunk.count(b"\n")
                    pace.sent(chunk.count(b"\n"))
            if last != b"\n":
                stream.sendall(b"\n")
                tally.sent += 1
    except OSError as error:
        raise HostError(f"{arguments.to} closed the connection: {error.strerror}") from None


def _read_some(file: BinaryIO, chunk_bytes: int) -> bytes:
    """What there is, without waiting for more: a pipe's lines go on as they come."""
    read_once = getattr(file, "read1", file.read)
    chunk: bytes = read_once(chunk_bytes)
    return chunk


def _send_datagrams(arguments: argparse.Namespace, pace: Pace, tally: Tally) -> None:
    """One line a datagram. A Unix socket makes us wait while its queue is full; UDP loses what finds no room."""
    with _datagram_socket(arguments.to) as sender:
        for line in _lines(arguments.files):
            if line is None or len(line) > DATAGRAM_BYTES_MAX:
                tally.refused(f"a line is larger than {DATAGRAM_BYTES_MAX} bytes")
                continue
            try:
                sender.send(line)
                tally.sent += 1
            except OSError as error:
                tally.refused(f"{arguments.to}: {error.strerror}")
            pace.sent()


def _datagram_socket(address: Address) -> socket.socket:
    try:
        if address.kind == "unix-datagram":
            sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            sender.connect(address.path)
            return sender
        family, _, _, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)[0]
        sender = socket.socket(family, socket.SOCK_DGRAM)
        sender.connect(where)
        return sender
    except OSError as error:
        raise HostDaemonAbsentError(f"cannot send to {address}: {error.strerror}") from None
