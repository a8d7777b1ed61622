"""Listeners over real sockets and a real arena in memory, time in the test's hands."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd.client import answers, frame
from ingestd.hotpath.arena import Arena
from ingestd.hotpath.intake import Intake, ListenerSpec, Stream
from ingestd.listeners.connection import PARTIAL_MS, Connection
from ingestd.listeners.conversation import Conversation, Terms
from ingestd.listeners.room import Hooks, Room, clock
from ingestd.listeners.sessions import Sessions
from ingestd.listeners.stream import ReserveDescriptor, StreamListener
from ingestd.metrics import Rejected


class Setup:
    """One listener of a worker, without a worker. ``unsettled``: what a session has to wait for at CLOSE."""

    def __init__(self, folder: Path, format_: str = "frames", **intake: int) -> None:
        self.path = str(folder / "app")
        self.clients: list[socket.socket] = []
        self.unsettled: set[tuple[int, int]] = set()
        self.loop = asyncio.new_event_loop()
        self.arena = Arena.create(None, buffer_bytes=8 << 20, now_ms=1)
        self.intake = Intake(self.arena, None, seed=1, **intake)
        topic = self.arena.topic_add("t")
        self.intake.add_topic(topic, batch_bytes=65536, linger_ms=5, record_bytes_max=1 << 20)
        self.intake.set_partitions(topic, b"\1")
        named = {"topics": (topic,)} if format_ == "frames" else {"topic": topic}
        self.intake.add_listener(ListenerSpec(index=0, format=format_, record_bytes_max=1 << 20, **named))
        self.connections = 0
        hooks = Hooks(
            sealed=lambda: None,
            opened=lambda: None,
            topic_wanted=lambda _: None,
            memory_short=lambda: None,
            connections=self._count,
            errors=lambda _: None,
        )
        self.room = Room(self.loop, self.intake, hooks)
        self.sessions = Sessions(self.arena, 0, 1, lambda _: [], lambda _: set(self.unsettled))
        terms = Terms({b"t": topic}, 1 << 20, [b""])

        def begin(connection: Connection, stream: Stream) -> None:
            connection.conversation = Conversation(stream, self.sessions, self.arena, terms, connection)

        self.reserve = ReserveDescriptor()
        self.listener = StreamListener(self.room, self.reserve, "app", 0, 100, begin if format_ == "frames" else None)
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(self.path)
        self.listening.listen()
        self.listener.listen(self.listening)
        self.client = self.connect()
        self.turn()

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(self.path)
        client.setblocking(False)
        self.clients.append(client)
        return client

    def _count(self, change: int) -> None:
        self.connections += change

    def turn(self) -> None:
        """Lets the loop see what is there."""
        self.loop.run_until_complete(asyncio.sleep(0.02))

    def read(self) -> list[tuple[int, bytes]]:
        self.turn()
        return [(kind, body) for kind, _, body in frame.FrameReader().feed(self.client.recv(1 << 20))]

    def rejected(self, reason: Rejected) -> int:
        return self.arena.ledger().get(f"rejected.{int(reason)}", 0)

    def close(self) -> None:
        self.listener.drain()
        self.listener.close()
        self.reserve.close()
        for client in self.clients:
            client.close()
        self.listening.close()
        self.loop.close()


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    made = Setup(tmp_path)
    yield made
    made.close()


def test_a_frame_that_does_not_come_to_its_end_ends_the_connection(setup: Setup) -> None:
    _, tick_ms = clock()
    setup.client.send(frame.Hello(frame.ANSWER_ACCEPTED).encode() + frame.Topic(0, "t").encode()[:-1])
    assert [kind for kind, _ in setup.read()] == [frame.GRANT]
    setup.listener.sweep(tick_ms + PARTIAL_MS // 2)
    setup.turn()
    assert setup.connections == 1
    setup.listener.sweep(tick_ms + 2 * PARTIAL_MS)
    ((kind, body),) = setup.read()
    assert (kind, answers.Error.decode(body).reason) == (frame.ERROR, Rejected.STALLED)
    assert setup.client.recv(1) == b""
    assert setup.connections == 0
    assert setup.rejected(Rejected.STALLED) == 1


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"x\n", True),
        (b"a first line\nand a second line\n", True),
        (b"", False),
        (frame.Topic(0, "t").encode() + b"x", False),
    ],
    ids=["a short line", "lines", "nothing", "a frame"],
)
def test_a_sender_that_writes_no_frames_is_told_of(
    setup: Setup, caplog: pytest.LogCaptureFixture, sent: bytes, *, told: bool
) -> None:
    setup.client.send(sent)
    setup.turn()
    setup.client.close()
    setup.turn()
    assert setup.connections == 0
    assert ("what a sender has written was no frame" in caplog.text) is told


def test_progress_gives_more_time_and_silence_between_frames_needs_none(setup: Setup) -> None:
    _, tick_ms = clock()
    topic = frame.Topic(0, "t").encode()
    setup.client.send(topic + topic[:3])
    setup.turn()
    setup.client.send(topic[3:])
    setup.turn()
    setup.listener.sweep(tick_ms + 10 * PARTIAL_MS)
    setup.turn()
    assert setup.connections == 1


def test_an_unknown_frame_is_answered_and_counted(setup: Setup) -> None:
    setup.client.send(frame.frame(0x3F, b"?"))
    ((kind, body),) = setup.read()
    assert (kind, answers.Error.decode(body).reason) == (frame.ERROR, Rejected.UNSUPPORTED_FRAME)
    assert setup.client.recv(1) == b""
    assert setup.rejected(Rejected.UNSUPPORTED_FRAME) == 1


def test_a_peer_that_goes_away_leaves_nothing(setup: Setup) -> None:
    setup.client.send(frame.Hello(frame.ANSWER_DELIVERED, True).encode())
    setup.turn()
    assert [session.disconnected_ms for session in setup.arena.sessions()] == [0]
    setup.client.close()
    setup.turn()
    assert setup.connections == 0
    assert setup.arena.sessions()[0].disconnected_ms > 0


def test_sixteen_unconfirmed_rejections_wait_for_a_confirm_that_stands_behind_records(setup: Setup) -> None:
    empty = b"".join(_records(number, "not-allowed") for number in range(1, 19))
    setup.client.send(frame.Hello(frame.ANSWER_ACCEPTED, True).encode() + empty)
    assert _ranges(setup.read()) == [(1, 16)]
    setup.client.send(frame.frame(frame.CONFIRM, (16).to_bytes(8, "little")) + _records(19, "t"))
    told = setup.read()
    assert _ranges(told) == [(17, 2)]
    assert answers.Accepted.decode(told[-1][1])[1] == 19


def test_a_confirm_in_the_same_write_as_the_seventeenth_rejection(setup: Setup) -> None:
    setup.client.send(frame.Hello(frame.ANSWER_ACCEPTED, True).encode())
    setup.client.send(b"".join(_records(number, "not-allowed") for number in range(1, 11)))
    assert _ranges(setup.read()) == [(1, 10)]
    _more_than_sixteen(setup)
    assert answers.Accepted.decode(setup.read()[-1][1])[1] == 18
    assert setup.connections == 1


def test_a_client_that_half_closes_behind_its_confirm_is_answered(setup: Setup) -> None:
    setup.client.send(frame.Hello(frame.ANSWER_ACCEPTED, True).encode())
    setup.client.send(b"".join(_records(number, "not-allowed") for number in range(1, 11)))
    setup.turn()
    _more_than_sixteen(setup)
    setup.client.shutdown(socket.SHUT_WR)
    told = setup.read()
    assert _ranges(told) == [(1, 10), (11, 6), (17, 1)]
    assert answers.Accepted.decode(told[-1][1])[1] == 18
    assert setup.client.recv(1) == b""
    assert setup.arena.sessions()[0].last_accepted == 18


@pytest.mark.parametrize("confirm_bytes", [0, 15])
def test_a_client_that_half_closes_without_a_confirm_hears_why_nothing_goes_on(
    setup: Setup, confirm_bytes: int
) -> None:
    frames = b"".join(_records(number, "not-allowed") for number in range(1, 18))
    confirm = frame.frame(frame.CONFIRM, (16).to_bytes(8, "little"))[:confirm_bytes]
    setup.client.send(frame.Hello(frame.ANSWER_ACCEPTED, True).encode() + frames + confirm)
    setup.client.shutdown(socket.SHUT_WR)
    told = setup.read()
    assert _ranges(told) == [(1, 16)]
    assert (told[-1][0], answers.Error.decode(told[-1][1]).reason) == (frame.ERROR, Rejected.STALLED)
    assert setup.client.recv(1) == b""
    assert setup.connections == 0


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("count", [0, 1])
def test_hello_is_the_first_frame_or_none(setup: Setup, first: int, count: int) -> None:
    records = _records(first, "t") if count else frame.frame(frame.RECORDS, bytes(16))
    setup.client.send(records + frame.Hello(frame.ANSWER_ACCEPTED, True).encode())
    ((kind, body),) = setup.read()
    assert (kind, answers.Error.decode(body).reason) == (frame.ERROR, Rejected.BAD_FRAMING)
    assert setup.arena.sessions() == []


def test_a_frame_that_stops_behind_some_of_its_records_ends_the_connection(setup: Setup) -> None:
    _, tick_ms = clock()
    setup.client.send(frame.Hello(frame.ANSWER_ACCEPTED).encode() + _records(1, "t") + _records(2, "t")[:-1])
    setup.turn()
    setup.listener.sweep(tick_ms + 2 * PARTIAL_MS)
    told = setup.read()
    assert (told[-1][0], answers.Error.decode(told[-1][1]).reason) == (frame.ERROR, Rejected.STALLED)
    assert setup.arena.ledger()["accepted"] == 1


def test_a_connection_that_waits_for_room_is_not_blamed_for_it(setup: Setup) -> None:
    _, tick_ms = clock()
    setup.intake.hold(0, 0, True)
    setup.client.send(frame.Hello(frame.ANSWER_ACCEPTED).encode() + _records(1, "t"))
    setup.turn()
    (waiting,) = setup.listener.connections
    assert not waiting.resume()
    setup.listener.sweep(tick_ms + 2 * PARTIAL_MS)
    setup.intake.hold(0, 0, False)
    assert waiting.resume()
    assert [kind for kind, _ in setup.read()] == [frame.GRANT, frame.ACCEPTED]
    assert setup.connections == 1


def _more_than_sixteen(setup: Setup) -> None:
    """In one write: 11 to 17 are refused, the first ten rejections are confirmed, 18 is good."""
    refused = b"".join(_records(number, "not-allowed") for number in range(11, 18))
    setup.client.send(refused + frame.frame(frame.CONFIRM, (10).to_bytes(8, "little")) + _records(18, "t"))


def _ranges(told: list[tuple[int, bytes]]) -> list[tuple[int, int]]:
    """(first sequence, count) of every rejection."""
    return [answers.Rejected.decode(body)[:2] for kind, body in told if kind == frame.REJECTED]


def _records(sequence: int, topic: str) -> bytes:
    name = topic.encode()
    head = (0).to_bytes(4, "little") + (1).to_bytes(4, "little") + sequence.to_bytes(8, "little")
    record = (2).to_bytes(4, "little") + b"\x10x"
    return frame.frame(frame.RECORDS, head + len(name).to_bytes(2, "little") + name + record, frame.TOPIC_NAME)
