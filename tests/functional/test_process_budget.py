"""What connections may cost: held bytes, unfinished records, peers that are gone. Time is in the test's hands."""

import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingestd.client import answers, frame
from ingestd.listeners.connection import PARTIAL_MS, TURN_MS
from ingestd.listeners.room import clock
from ingestd.metrics import Rejected
from tests.functional.test_process_listeners import Setup

LINE = b"x" * 600_000 + b"\n"


@pytest.fixture
def make_setup(tmp_path: Path) -> Iterator[Callable[..., Setup]]:
    made: list[Setup] = []

    def make(format_: str = "frames", **intake: int) -> Setup:
        made.append(Setup(tmp_path, format_, **intake))
        return made[-1]

    yield make
    for setup in made:
        setup.close()


def send(setup: Setup, client: socket.socket, data: bytes) -> int:
    """As much of it as is taken; how many bytes."""
    at = 0
    while at < len(data):
        try:
            at += client.send(data[at : at + 50_000])
        except BlockingIOError:
            before = at
            setup.turn()
            try:
                at += client.send(data[at : at + 50_000])
            except BlockingIOError:
                return before
    return at


def test_lines_that_do_not_fit_the_budget_together_all_come_in(make_setup: Callable[..., Setup]) -> None:
    setup = make_setup("lines", hold_bytes=1 << 20)
    clients = [setup.client, *(setup.connect() for _ in range(5))]
    left = [LINE] * len(clients)
    for size in (300_000, 300_000, len(LINE), len(LINE), len(LINE)):
        for at, client in enumerate(clients):
            left[at] = left[at][send(setup, client, left[at][:size]) :]
        setup.turn()
    assert not any(left)
    assert setup.arena.ledger()["accepted"] == len(clients)
    assert setup.intake.held_bytes == 0
    assert setup.connections == len(clients)


def test_whoever_exceeds_the_budget_and_does_not_finish_is_ended_when_others_wait(
    make_setup: Callable[..., Setup],
) -> None:
    setup = make_setup("lines", hold_bytes=1 << 20)
    _, tick_ms = clock()
    slow, honest = [setup.client, setup.connect()], setup.connect()
    for client in slow:
        assert send(setup, client, LINE[:-1]) == len(LINE) - 1
    setup.turn()
    # Nobody waits: they have the time that they need.
    setup.listener.sweep(tick_ms + TURN_MS)
    setup.listener.sweep(tick_ms + 2 * TURN_MS)
    assert setup.connections == 3
    sent = send(setup, honest, LINE)
    setup.listener.sweep(tick_ms + 3 * TURN_MS)
    assert setup.connections == 3
    setup.listener.sweep(tick_ms + 4 * TURN_MS)
    assert setup.connections == 2
    assert setup.rejected(Rejected.STALLED) == 1
    setup.turn()
    assert send(setup, honest, LINE[sent:]) == len(LINE) - sent
    setup.turn()
    assert setup.arena.ledger()["accepted"] == 1
    assert setup.intake.hold_turn == 0


def test_who_finishes_in_his_turn_while_the_worker_is_stopped_is_not_ended(make_setup: Callable[..., Setup]) -> None:
    setup = make_setup("lines", hold_bytes=1 << 20)
    _, tick_ms = clock()
    clients = [setup.client, setup.connect(), setup.connect()]
    for client in clients[:2]:
        assert send(setup, client, LINE[:-1]) == len(LINE) - 1
    send(setup, clients[2], LINE)
    setup.listener.sweep(tick_ms)
    for client in clients[:2]:
        client.send(b"\n")
    setup.listener.sweep(tick_ms + 2 * TURN_MS)
    assert setup.connections == 3
    setup.turn()
    assert setup.arena.ledger()["accepted"] >= 2
    setup.listener.sweep(tick_ms + 2 * TURN_MS)
    assert setup.connections == 3


def test_an_unfinished_line_may_stand_as_long_as_nobody_misses_its_bytes(make_setup: Callable[..., Setup]) -> None:
    setup = make_setup("lines", hold_bytes=1 << 20)
    _, tick_ms = clock()
    large, small = setup.client, setup.connect()
    send(setup, large, b"x" * 150_000)
    send(setup, small, b"x" * 3_000)
    setup.turn()
    setup.listener.sweep(tick_ms + 2 * PARTIAL_MS)
    assert setup.connections == 2
    send(setup, large, b"x" * 450_000)
    setup.turn()
    setup.listener.sweep(tick_ms + 2 * PARTIAL_MS)
    setup.turn()
    assert setup.connections == 1
    assert setup.rejected(Rejected.STALLED) == 1
    small.send(b"\n")
    setup.turn()
    assert setup.arena.ledger()["accepted"] == 1


def test_records_that_are_only_announced_hold_nobody_up(make_setup: Callable[..., Setup]) -> None:
    setup = make_setup(hold_bytes=2 << 20)
    head = struct.pack("<HHIQH", 0, 0, 1, 1, 1) + b"t"
    announced = struct.pack("<IBBH", 4 + len(head) + 4 + 1_000_000, 2, 1, 0) + head + struct.pack("<IB", 1_000_000, 16)
    for _ in range(30):
        client = setup.connect()
        client.send(announced)
        setup.turn()
        client.send(b"x")
    record = struct.pack("<IB", 800_001, 16) + bytes(800_000)
    assert send(setup, setup.client, frame.frame(frame.RECORDS, head + record, frame.TOPIC_NAME))
    setup.turn()
    assert setup.arena.ledger()["accepted"] == 1
    assert setup.intake.hold_turn == 0


def test_a_frame_behind_which_answers_pile_up_is_not_blamed_for_that(make_setup: Callable[..., Setup]) -> None:
    setup = make_setup()
    _, tick_ms = clock()
    topic = frame.Topic(0, "t").encode()
    setup.client.send(topic[:-1])
    setup.turn()
    (connection,) = setup.listener.connections
    connection.answer(bytes(700_000))
    setup.turn()
    setup.listener.sweep(tick_ms + 2 * PARTIAL_MS)
    assert setup.connections == 1
    while setup.connections:
        try:
            setup.client.recv(1 << 20)
        except BlockingIOError:
            break
        setup.turn()
    # It is read again, and owes the rest.
    setup.listener.sweep(tick_ms + 2 * PARTIAL_MS)
    setup.turn()
    assert setup.connections == 0


def test_what_came_while_the_worker_was_stopped_is_read_before_the_peer_is_blamed(
    make_setup: Callable[..., Setup],
) -> None:
    setup = make_setup()
    _, tick_ms = clock()
    topic = frame.Topic(0, "t").encode()
    for _ in range(2):
        setup.client.send(topic[:-1])
        setup.turn()
        setup.client.send(topic[-1:])
        setup.listener.sweep(tick_ms + 2 * PARTIAL_MS)
        assert setup.connections == 1
        setup.turn()
        setup.listener.sweep(tick_ms + 2 * PARTIAL_MS)
        assert setup.connections == 1


def test_a_byte_now_and_then_does_not_keep_an_unfinished_frame_alive(make_setup: Callable[..., Setup]) -> None:
    setup = make_setup()
    _, tick_ms = clock()
    setup.client.send(frame.Topic(0, "t" * 100).encode()[:-50])
    setup.turn()
    setup.client.send(b"t")
    setup.listener.sweep(tick_ms + 2 * PARTIAL_MS)
    assert setup.connections == 1
    setup.turn()
    setup.client.send(b"t")
    setup.listener.sweep(tick_ms + 2 * PARTIAL_MS + 1000)
    setup.turn()
    assert setup.connections == 0
    assert setup.rejected(Rejected.STALLED) == 1


@pytest.fixture
def closing(make_setup: Callable[..., Setup]) -> Setup:
    """A client has closed its session and waits for the outcome of a batch."""
    setup = make_setup()
    setup.unsettled = {(1, 7)}
    setup.client.send(frame.Hello(frame.ANSWER_DELIVERED, True).encode() + frame.frame(frame.CLOSE, b""))
    assert [kind for kind, _ in setup.read()] == [frame.GRANT]
    return setup


def test_a_client_that_is_gone_behind_its_close_leaves_nothing(closing: Setup) -> None:
    _, tick_ms = clock()
    closing.client.close()
    closing.turn()
    closing.listener.sweep(tick_ms)
    assert closing.connections == 0
    assert closing.sessions.count == 0
    assert closing.arena.sessions()[0].disconnected_ms > 0


def test_a_client_that_half_closes_behind_its_close_is_told(closing: Setup) -> None:
    _, tick_ms = clock()
    closing.client.send(b"nothing of this is read")
    closing.client.shutdown(socket.SHUT_WR)
    closing.turn()
    closing.listener.sweep(tick_ms + 2 * PARTIAL_MS)
    assert closing.connections == 1
    closing.sessions.settled(1, 6)
    closing.sessions.settled(1, 7)
    assert [kind for kind, _ in closing.read()] == [frame.CLOSED]
    assert closing.arena.sessions() == []


def test_a_broken_frame_behind_a_control_frame_is_answered(make_setup: Callable[..., Setup]) -> None:
    setup = make_setup()
    broken = struct.pack("<IBBH", 3 << 20, 2, 0, 0) + bytes(100)
    setup.client.send(frame.Hello(frame.ANSWER_ACCEPTED).encode() + broken)
    told = setup.read()
    assert [kind for kind, _ in told] == [frame.GRANT, frame.ERROR]
    assert answers.Error.decode(told[-1][1]).reason == Rejected.FRAME_TOO_LARGE
    assert setup.client.recv(1) == b""
    assert setup.rejected(Rejected.FRAME_TOO_LARGE) == 1
