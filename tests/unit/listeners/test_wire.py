"""Control frames and replies, byte by byte against the client's own reading of them."""

import struct

import pytest

from ingestd.client import answers, frame
from ingestd.limits import FRAME_BYTES_MAX
from ingestd.listeners import wire
from ingestd.listeners.wire import Answer, Frame, FrameError, Grant, Resumed
from ingestd.metrics import Rejected

SESSION = bytes(range(16))


def body_of(reply: bytes, kind: int) -> bytes:
    """The body of exactly one frame of ``kind``."""
    length, found, flags, reserved = struct.unpack_from("<IBBH", reply)
    assert (length, found, flags, reserved) == (len(reply) - 4, kind, 0, 0)
    return reply[8:]


def test_the_clients_hello_is_understood() -> None:
    sent = frame.Hello(frame.ANSWER_DELIVERED, True, SESSION, "payments").encode()
    assert sent[4] == Frame.HELLO
    assert wire.parse_hello(sent[5], sent[8:]) == (1, Answer.DELIVERED, True, SESSION, "payments")


def test_a_name_is_kept_as_far_as_a_log_needs_it() -> None:
    body = struct.pack("<HBB16sH", 1, 1, 0, SESSION, 3000) + b"\xff" + b"n" * 2999
    name = wire.parse_hello(1, body).name
    assert name == "\\xff" + "n" * (wire.NAME_BYTES_MAX - 1)


@pytest.mark.parametrize(
    ("flags", "body", "reason"),
    [
        (0, b"\x01\x00\x00", Rejected.BAD_FRAMING),
        (0, struct.pack("<HBB16sH", 0, 0, 0, SESSION, 0), Rejected.UNSUPPORTED_FRAME),
        (0, struct.pack("<HBB16sH", 1, 3, 0, SESSION, 0), Rejected.BAD_FRAMING),
        (0, struct.pack("<HBB16sH", 1, 2, 0, SESSION, 0), Rejected.BAD_FRAMING),
        (0, struct.pack("<HBB16sH", 1, 0, 0, SESSION, 5) + b"name", Rejected.BAD_FRAMING),
    ],
    ids=["short", "version", "answer", "delivered without session", "name longer than its frame"],
)
def test_a_broken_hello_says_why(flags: int, body: bytes, reason: Rejected) -> None:
    with pytest.raises(FrameError) as caught:
        wire.parse_hello(flags, body)
    assert caught.value.reason is reason


def test_a_newer_hello_with_more_behind_it_is_understood() -> None:
    body = struct.pack("<HBB16sH", 2, 1, 0, SESSION, 0) + b"more"
    assert wire.parse_hello(1, body).answer is Answer.ACCEPTED


def test_the_clients_topic_is_understood() -> None:
    sent = frame.Topic(1023, "orders").encode()
    assert wire.parse_topic(sent[8:]) == (1023, b"orders")


@pytest.mark.parametrize("body", [b"\x01", b"\x01\x00\x05\x00abcd"])
def test_a_cut_topic_is_broken(body: bytes) -> None:
    with pytest.raises(FrameError):
        wire.parse_topic(body)


def test_confirm() -> None:
    assert wire.parse_confirm(struct.pack("<Q", 1 << 40)) == 1 << 40
    with pytest.raises(FrameError):
        wire.parse_confirm(b"1234567")


def test_the_client_reads_a_grant() -> None:
    grant = Grant(Answer.DELIVERED, Resumed.RESUMED, SESSION, 77, FRAME_BYTES_MAX, 1000, b"/run/app.sock.1")
    read = answers.Grant.decode(body_of(grant.encode(), frame.GRANT))
    assert read == answers.Grant(2, 1, SESSION, 77, FRAME_BYTES_MAX, 1000, "/run/app.sock.1")


def test_the_client_reads_ranges() -> None:
    assert answers.Accepted.decode(body_of(wire.accepted(3, 9), frame.ACCEPTED)) == (3, 9)
    assert answers.OutcomeUnknown.decode(body_of(wire.outcome_unknown(1, 2), frame.OUTCOME_UNKNOWN)) == (1, 2)


@pytest.mark.parametrize("reason", Rejected)
def test_every_rejection_has_a_sentence_and_kafkas_code_where_there_is_one(reason: Rejected) -> None:
    read = answers.Rejected.decode(body_of(wire.rejected(5, 2, reason), frame.REJECTED))
    assert (read.first_sequence, read.record_count, read.reason) == (5, 2, reason)
    assert read.text
    assert read.error_code == wire.KAFKA_CODE.get(reason, 0)


def test_the_text_of_an_error_is_bounded() -> None:
    read = answers.Error.decode(body_of(wire.error(Rejected.BAD_FRAMING, "x" * 100_000), frame.ERROR))
    assert len(read.text) == wire.TEXT_BYTES_MAX


def test_closed_and_redirect() -> None:
    assert body_of(wire.closed(), frame.CLOSED) == b""
    assert body_of(wire.redirect(b"/run/a.0"), frame.REDIRECT) == b"\x08\x00/run/a.0"
