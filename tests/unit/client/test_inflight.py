"""Frames and what answers say of them: which records an answer touches, and how many frames it looks at."""

import random

import pytest

from ingestd.client.encoding import encode_record
from ingestd.client.errors import NetworkException
from ingestd.client.future import Future, Owner
from ingestd.client.inflight import Frame, InFlight

OWNER = Owner()
RECORD = encode_record(b"value", None, None, 1, ())


class CountingFrame(Frame):
    """Counts how often anybody asks where it ends."""

    looks = 0

    @property
    def last_sequence(self) -> int:
        CountingFrame.looks += 1
        return super().last_sequence


def filled(frames: int, records: int = 2, kind: type[Frame] = Frame) -> InFlight:
    inflight = InFlight()
    for number in range(frames):
        entries = [(RECORD, Future(OWNER, "t", 1, -1, 5, None)) for _ in range(records)]
        inflight.add(kind(number + 1, entries, 1 + number * records))
    return inflight


def held(inflight: InFlight) -> list[bool]:
    """Which frames are kept for another try."""
    return [frame.data is not None for frame in inflight]


def test_an_acceptance_looks_only_at_what_was_not_accepted_before() -> None:
    CountingFrame.looks = 0
    inflight = filled(1000, kind=CountingFrame)
    for number in range(1000):
        inflight.accepted(2 * number + 2)
    assert held(inflight) == [False] * 1000
    assert CountingFrame.looks <= 2000


def test_a_frame_is_accepted_when_its_last_record_is() -> None:
    inflight = filled(3)
    inflight.accepted(3)
    assert held(inflight) == [False, True, True]
    inflight.accepted(2)
    inflight.accepted(4)
    assert held(inflight) == [False, False, True]


def test_what_ends_in_front_shifts_what_is_accepted() -> None:
    inflight = filled(5)
    inflight.accepted(4)
    inflight.succeed(1, 6, 0, 0, -1)  # of frames 1 to 3, the third before it was said to be accepted
    assert held(inflight) == [True, True]
    inflight.accepted(8)
    assert held(inflight) == [False, True]


def test_other_sequences_begin_with_nothing_accepted() -> None:
    inflight = filled(4)
    inflight.accepted(4)
    for frame in list(inflight)[:2]:
        inflight.fail_frame(frame, NetworkException("forgotten"))
    assert inflight.renumber() == 5
    assert held(inflight) == [True, True]
    inflight.accepted(2)
    assert held(inflight) == [False, True]


@pytest.mark.parametrize("seed", range(10))
def test_whatever_the_order_of_answers_all_bytes_are_given_back(seed: int) -> None:
    rng = random.Random(seed)
    inflight = filled(30, records=3)
    total = sum(frame.held_bytes for frame in inflight)
    accepted, open_ones = 0, set(range(1, 91))
    while open_ones:
        if rng.random() < 0.5:
            accepted = min(accepted + rng.randrange(8), 90)
            inflight.accepted(accepted)
        else:
            first = rng.choice(sorted(open_ones))
            last = first + rng.randrange(5)
            inflight.succeed(first, last, 0, -1, -1)
            open_ones -= set(range(first, last + 1))
        for frame in inflight:
            assert (frame.data is None) == (frame.last_sequence <= accepted or frame.open == 0)
    assert not inflight
    assert inflight.freed_bytes == total
