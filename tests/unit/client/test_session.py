"""The client's state machine, fed by hand: no socket, no thread, no clock."""

import random
from collections.abc import Callable

import pytest

from ingestd.client import answers, frame
from ingestd.client.answers import Accepted, Delivered, Error, Failed, Grant, OutcomeUnknown, Redirect, Rejected, Run
from ingestd.client.encoding import decode_records, encode_record
from ingestd.client.errors import (
    ConfigException,
    KafkaException,
    NetworkException,
    OutcomeUnknownException,
    RecordTooLargeException,
    SessionForgottenException,
    TimeoutException,
    UnsupportedVersionException,
)
from ingestd.client.frame import Confirm, FrameError, FrameReader, Hello
from ingestd.client.future import Future, Owner
from ingestd.client.session import OUTPUT_BYTES_MAX, Session, State

SID = bytes(range(16))
OTHER = bytes(range(1, 17))
OWNER = Owner()


class Kit:
    """A session and the other end of its wire."""

    def __init__(self, answer: int = 2) -> None:
        self.session = Session(answer, "test")
        self.answer = answer
        self.reader = FrameReader()

    def connect(self, resumed: int = 0, last_accepted: int = 0, session_id: bytes = SID) -> Hello:
        self.session.connected()
        self.reader = FrameReader()
        [(kind, flags, body)] = self.sent()
        assert kind == frame.HELLO
        self.say(self.grant(resumed, last_accepted, session_id))
        return Hello.decode(body, flags)

    def grant(self, resumed: int = 0, last_accepted: int = 0, session_id: bytes = SID) -> Grant:
        if self.answer == 0:
            session_id = frame.NO_SESSION
        return Grant(self.answer, resumed, session_id, last_accepted, 2 << 20, 1 << 20, "/own")

    def say(self, *frames: answers.Answer) -> None:
        for one in frames:
            self.session.receive(one.encode())

    def sent(self, size_bytes: int | None = None) -> list[tuple[int, int, bytes]]:
        """Writes everything, or so many bytes; the frames that became complete at the other end."""
        data = b"".join(self.session.output(1000))[:size_bytes]
        self.session.wrote(len(data))
        return list(self.reader.feed(data))

    def sequences(self) -> list[int]:
        """Of the records that are sent now."""
        out = []
        for kind, flags, body in self.sent():
            if kind == frame.RECORDS:
                decoded = decode_records(body, flags)
                out += [decoded.first_sequence + index for index in range(len(decoded.records))]
        return out

    def add(self, count: int = 1, topic: str = "t") -> list[Future]:
        entries = [
            (encode_record(b"value", None, None, 1, ()), Future(OWNER, topic, 1, -1, 5, None)) for _ in range(count)
        ]
        self.session.add(entries)
        return [future for _, future in entries]


def errors(futures: list[Future]) -> list[type[KafkaException] | None]:
    found = [future.exception(0) for future in futures]
    return [None if error is None else type(error) for error in found]


def test_greeting_asks_for_a_session_and_waits_for_the_grant() -> None:
    kit = Kit()
    kit.session.connected()
    before = kit.session.wants_records
    kit.say(kit.grant())
    assert (before, kit.session.wants_records) == (False, True)
    assert kit.session.state is State.OPEN
    assert kit.session.grant == kit.grant()


def test_level_none_greets_without_a_session() -> None:
    hello = Kit(answer=0).connect()
    assert (hello.answer, hello.session_wanted, hello.session_id) == (0, False, frame.NO_SESSION)


def test_sequences_run_over_all_frames_and_topics() -> None:
    kit = Kit()
    kit.connect()
    kit.add(2, "a")
    kit.add(3, "b")
    assert kit.sequences() == [1, 2, 3, 4, 5]


def test_accepted_is_the_end_at_level_accepted() -> None:
    kit = Kit(answer=1)
    kit.connect()
    futures = kit.add(3) + kit.add(2)
    kit.sent()
    kit.say(Accepted(1, 4))
    assert [future.done() for future in futures] == [True] * 4 + [False]
    assert futures[0].result().offset == -1
    kit.say(Accepted(5, 5))
    assert kit.session.idle


def test_accepted_frees_the_bytes_at_level_delivered_and_delivered_the_rest() -> None:
    kit = Kit()
    kit.connect()
    [future] = kit.add()
    kit.sent()
    kit.say(Accepted(1, 1))
    assert kit.session.take_freed_bytes() == 18
    assert not future.done()
    kit.say(Delivered(2, 40, -1, "t", (Run(1, 1, 2),)))
    assert future.result(0)[:3] == ("t", 2, 42)
    assert kit.session.take_freed_bytes() == 256
    assert kit.session.take_freed_bytes() == 0


def test_offsets_follow_the_gaps() -> None:
    kit = Kit()
    kit.connect()
    futures = kit.add(3) + kit.add(3)
    kit.sent()
    kit.say(
        Accepted(1, 6),
        Delivered(0, 10, -1, "t", (Run(1, 3, 0, (1, 1)),)),
        Delivered(1, -1, 7, "t", (Run(2, 3, 0, (1, 1)),)),
    )
    where = [future.result(0)[1:4] for future in futures]
    assert where == [(0, 10, 1), (1, -1, 7), (0, 11, 1), (1, -1, 7), (0, 12, 1), (1, -1, 7)]


def test_a_rejection_fails_its_record_alone_and_is_confirmed_first() -> None:
    kit = Kit(answer=1)
    kit.connect()
    futures = kit.add(3)
    kit.sent()
    kit.add()
    kit.say(Rejected(2, 1, 2, 0, "big"), Accepted(1, 3))
    assert errors(futures) == [None, RecordTooLargeException, None]
    frames = kit.sent()
    assert [kind for kind, _, _ in frames] == [frame.CONFIRM, frame.RECORDS]
    assert Confirm.decode(frames[0][2]) == Confirm(2)


def test_a_confirmation_does_not_cut_a_frame_that_is_begun() -> None:
    kit = Kit(answer=1)
    kit.connect()
    kit.add()
    kit.sent()
    kit.add()
    kit.sent(size_bytes=10)
    kit.add()
    kit.say(Rejected(1, 1, 2), Accepted(1, 1))
    assert [kind for kind, _, _ in kit.sent()] == [frame.RECORDS, frame.CONFIRM, frame.RECORDS]


def test_failed_fails_the_records_it_names() -> None:
    kit = Kit()
    kit.connect()
    futures = kit.add(2)
    kit.sent()
    kit.say(Accepted(1, 2), Failed(0, 6, 45, True, "t", "text", (Run(2, 1),)))
    assert not futures[0].done()
    assert errors(futures[1:]) == [OutcomeUnknownException]


def test_resume_sends_again_what_was_not_accepted() -> None:
    kit = Kit(answer=1)
    kit.connect()
    futures = kit.add(2) + kit.add(2) + kit.add(2)
    kit.sent()
    kit.session.disconnected()
    assert kit.session.state is State.ABSENT
    hello = kit.connect(resumed=1, last_accepted=3)
    assert hello.session_id == SID
    assert not any(future.done() for future in futures)
    # The frame that holds 4 is sent whole: 3 is skipped by the daemon.
    assert kit.sequences() == [3, 4, 5, 6]
    kit.say(Accepted(1, 3))
    assert [future.done() for future in futures] == [True] * 3 + [False] * 3


def test_an_unknown_outcome_of_what_has_its_answer_is_ignored() -> None:
    kit = Kit()
    kit.connect()
    futures = kit.add(4)
    kit.sent()
    kit.say(Accepted(1, 4), Delivered(0, 9, -1, "t", (Run(2, 1),)), Failed(0, 5, 44, False, "t", "text", (Run(3, 1),)))
    failed = futures[2].exception(0)
    kit.session.disconnected()
    kit.connect(resumed=1, last_accepted=4)
    kit.say(Accepted(1, 4), OutcomeUnknown(1, 4))
    assert futures[1].result(0).offset == 9
    assert futures[2].exception(0) is failed
    assert errors([futures[0], futures[3]]) == [OutcomeUnknownException] * 2


def test_resume_reports_rejections_and_unknown_outcomes() -> None:
    kit = Kit()
    kit.connect()
    futures = kit.add(4)
    kit.sent()
    kit.session.disconnected()
    kit.connect(resumed=1, last_accepted=4)
    assert kit.sent() == []
    kit.say(Rejected(2, 1, 7), Accepted(1, 4), OutcomeUnknown(1, 1), OutcomeUnknown(3, 3))
    assert errors(futures[:3])[0::2] == [OutcomeUnknownException] * 2
    assert not futures[3].done()
    kit.say(Delivered(0, 9, -1, "t", (Run(4, 1),)))
    assert futures[3].result(0).offset == 9


def test_known_rejections_are_confirmed_before_anything_is_sent_again() -> None:
    kit = Kit(answer=1)
    kit.connect()
    kit.add(2)
    kit.sent()
    kit.say(Rejected(1, 1, 2), Accepted(1, 1))
    kit.session.disconnected()
    kit.connect(resumed=1, last_accepted=1)
    kit.add()
    assert [kind for kind, _, _ in kit.sent()] == [frame.CONFIRM, frame.RECORDS, frame.RECORDS]


def test_records_added_while_absent_follow_in_order() -> None:
    kit = Kit(answer=1)
    kit.connect()
    kit.add(2)
    kit.sent()
    kit.session.disconnected()
    kit.add(2)
    kit.connect(resumed=1)
    assert kit.sequences() == [1, 2, 3, 4]


def test_a_forgotten_session_is_reported_and_the_unsent_starts_over() -> None:
    kit = Kit()
    kit.connect()
    accepted = kit.add(2)
    written = kit.add(1)
    kit.sent()
    kit.say(Accepted(1, 2))
    begun = kit.add(1)
    kit.sent(size_bytes=3)
    never = kit.add(2)
    kit.session.disconnected()
    later = kit.add(1)
    kit.connect(resumed=2, session_id=OTHER)
    assert errors(accepted) == [OutcomeUnknownException] * 2
    assert errors(written + begun) == [SessionForgottenException] * 2
    assert not any(future.done() for future in never + later)
    assert kit.sequences() == [1, 2, 3]
    kit.say(Accepted(1, 3), Delivered(0, 0, -1, "t", (Run(1, 3),)))
    assert [future.result(0).offset for future in never + later] == [0, 1, 2]


def test_what_the_daemon_had_and_lost_is_reported() -> None:
    kit = Kit()
    kit.connect()
    futures = kit.add(1)
    kit.sent()
    kit.say(Accepted(1, 1))
    kit.session.disconnected()
    kit.connect(resumed=1, last_accepted=0)
    assert errors(futures) == [OutcomeUnknownException]


def test_level_none_is_done_when_written_and_lost_when_cut() -> None:
    kit = Kit(answer=0)
    kit.connect()
    whole, cut, unsent = kit.add(), kit.add(3), kit.add()
    first, second = map(len, kit.session.output(2))
    kit.sent(size_bytes=first + second - 1)
    assert errors(whole) == [None]
    kit.session.disconnected()
    assert errors(cut) == [OutcomeUnknownException] * 3
    assert not any(error.retriable for error in map(Future.exception, cut) if error is not None)
    kit.connect()
    assert len(kit.sequences()) == 1
    assert errors(unsent) == [None]


def test_close_ends_in_closed() -> None:
    kit = Kit()
    kit.connect()
    kit.session.close()
    assert [kind for kind, _, _ in kit.sent()] == [frame.CLOSE]
    kit.say(answers.Closed())
    assert kit.session.state is State.ENDED
    kit.session.disconnected()
    assert kit.session.state is State.ENDED


def test_abandon_fails_everything_and_counts() -> None:
    kit = Kit()
    kit.connect()
    futures = kit.add(2) + kit.add(3)
    kit.sent()
    kit.say(Accepted(1, 5), Delivered(0, 0, -1, "t", (Run(1, 1),)))
    assert kit.session.abandon(NetworkException("gone"), TimeoutException("not sent")) == 4
    assert errors(futures) == [None] + [NetworkException] * 4


def test_what_is_abandoned_unsent_is_told_apart() -> None:
    """Frames of which nothing was written can be sent again without harm."""
    kit = Kit()
    kit.connect()
    begun = kit.add(1)
    kit.sent()
    futures = begun + kit.add(2)
    assert kit.session.abandon(NetworkException("gone"), TimeoutException("not sent")) == 3
    assert errors(futures) == [NetworkException, TimeoutException, TimeoutException]


def test_a_redirect_is_handed_on() -> None:
    kit = Kit()
    kit.session.connected()
    kit.say(Redirect("/there"))
    assert kit.session.redirect_path == "/there"


def test_output_is_bounded() -> None:
    kit = Kit()
    kit.connect()
    while kit.session.wants_records:
        kit.add(100)
    assert OUTPUT_BYTES_MAX <= kit.session.output_bytes < OUTPUT_BYTES_MAX + 3000
    kit.sent()
    assert kit.session.wants_records


@pytest.mark.parametrize(
    ("prepare", "answer"),
    [
        (lambda kit: kit.session.connected(), Accepted(1, 1)),
        (lambda kit: kit.connect(), Kit().grant()),
        (lambda kit: kit.connect(), Redirect("/x")),
        (lambda kit: kit.connect(), answers.Closed()),
    ],
)
def test_a_frame_in_the_wrong_state_is_an_error(prepare: Callable[[Kit], None], answer: answers.Answer) -> None:
    kit = Kit()
    prepare(kit)
    with pytest.raises(FrameError, match="while"):
        kit.say(answer)


@pytest.mark.parametrize("grant", [(1, 1, SID), (1, 0, OTHER)])
def test_another_session_than_ours_is_no_resume(grant: tuple[int, int, bytes]) -> None:
    kit = Kit()
    kit.connect()
    kit.session.disconnected()
    kit.session.connected()
    with pytest.raises(FrameError, match="another session"):
        kit.say(kit.grant(*grant))


@pytest.mark.parametrize(
    ("changes", "kind"), [({"version": 2}, UnsupportedVersionException), ({"answer": 1}, ConfigException)]
)
def test_a_grant_that_is_not_what_was_asked_for_is_final(changes: dict[str, int], kind: type[KafkaException]) -> None:
    kit = Kit()
    kit.session.connected()
    kit.say(kit.grant()._replace(**changes))  # type: ignore[arg-type]
    assert type(kit.session.fatal) is kind


def test_the_same_error_again_and_again_is_final() -> None:
    kit = Kit()
    kit.connect()
    kit.add()
    for _ in range(3):
        assert kit.session.fatal is None
        kit.say(Error(18, "gap"))
        kit.session.disconnected()
        if kit.session.fatal is None:
            kit.connect(resumed=1)
    assert "sequence_gap: gap" in str(kit.session.fatal)


def test_an_error_that_is_not_our_fault_is_never_final() -> None:
    kit = Kit()
    kit.connect()
    for _ in range(10):
        kit.say(Error(19, ""))
        kit.session.disconnected()
        kit.connect(resumed=1)
    assert kit.session.fatal is None


@pytest.mark.parametrize("seed", range(20))
def test_never_lost_never_twice_whatever_is_cut(seed: int) -> None:
    """A daemon in a few lines; the wire breaks after random numbers of bytes, in both directions."""
    rng = random.Random(seed)
    kit = Kit(answer=1)
    log: list[int] = []
    futures: list[Future] = []
    connected = False
    for _ in range(300):
        if not connected:
            kit.connect(resumed=1 if futures else 0, last_accepted=len(log))
            connected = True
            if log:
                kit.say(Accepted(1, len(log)))
        if rng.random() < 0.7:
            futures += kit.add(rng.randint(1, 4))
        cut = rng.random() < 0.2
        out = b""
        for _, flags, body in [f for f in kit.sent(rng.randint(0, 120) if cut else None) if f[0] == frame.RECORDS]:
            decoded = decode_records(body, flags)
            assert decoded.first_sequence <= len(log) + 1
            log += range(len(log) + 1, decoded.first_sequence + len(decoded.records))
            out += Accepted(decoded.first_sequence, len(log)).encode()
        kit.session.receive(out[: rng.randint(0, len(out))] if cut else out)
        if cut:
            kit.session.disconnected()
            connected = False
        assert sum(future.done() for future in futures) <= len(log)
    if not connected:
        kit.connect(resumed=1, last_accepted=len(log))
        kit.say(Accepted(1, len(log)))
    for _, flags, body in [f for f in kit.sent() if f[0] == frame.RECORDS]:
        decoded = decode_records(body, flags)
        log += range(len(log) + 1, decoded.first_sequence + len(decoded.records))
    kit.say(Accepted(1, len(log)))
    assert len(log) == len(futures)
    assert all(future.exception(0) is None for future in futures)
