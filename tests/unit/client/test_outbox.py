import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from ingestd.client.errors import (
    BufferExhaustedException,
    IllegalStateException,
    NetworkException,
    RecordTooLargeException,
    TimeoutException,
)
from ingestd.client.future import Future, Owner, closed_lock
from ingestd.client.outbox import RECORD_OVERHEAD_BYTES, Entry, Outbox

RECORD_BYTES = 100


class Kit:
    """An outbox with room for some records of RECORD_BYTES."""

    def __init__(self, room: int = 4, *, is_open: bool = True) -> None:
        self.owner = Owner()
        self.wakes = 0
        self.outbox = Outbox(room * (RECORD_BYTES + RECORD_OVERHEAD_BYTES), self.owner, self._wake, "here")
        if is_open:
            self.outbox.open(1 << 20)

    def _wake(self) -> None:
        self.wakes += 1

    def entry(self, topic: str = "t", data: bytes = b"") -> Entry:
        return data.ljust(RECORD_BYTES, b"."), Future(self.owner, topic, 0, -1, -1, None)

    def put(self, topic: str = "t", data: bytes = b"") -> None:
        self.outbox.put(self.entry(topic, data), 0)


def contents(entries: list[Entry]) -> list[bytes]:
    return [data.rstrip(b".") for data, _ in entries]


def test_records_come_out_as_they_went_in() -> None:
    kit = Kit()
    for number in range(3):
        kit.put(data=b"%d" % number)
    assert kit.outbox
    assert contents(kit.outbox.take(1000)) == [b"0", b"1", b"2"]
    assert not kit.outbox
    assert kit.outbox.take(1000) == []


def test_a_frame_has_one_topic_and_topics_take_turns() -> None:
    kit = Kit()
    for topic, data in (("a", b"1"), ("b", b"2"), ("a", b"3")):
        kit.put(topic, data)
    one = RECORD_BYTES
    assert [contents(kit.outbox.take(one)) for _ in range(3)] == [[b"1"], [b"2"], [b"3"]]


def test_one_record_is_taken_even_if_it_is_larger() -> None:
    kit = Kit()
    kit.put(data=b"1")
    kit.put(data=b"2")
    assert contents(kit.outbox.take(1)) == [b"1"]
    assert contents(kit.outbox.take(1)) == [b"2"]


def test_full_means_full_until_room_is_given_back() -> None:
    kit = Kit(room=2)
    kit.put()
    kit.put()
    with pytest.raises(BufferExhaustedException, match="outgoing buffer of 712 bytes for here within 0 ms"):
        kit.put()
    kit.outbox.take(1000)
    with pytest.raises(TimeoutException):
        kit.put()
    kit.outbox.release(RECORD_BYTES + RECORD_OVERHEAD_BYTES, nothing_open=False)
    kit.put()


def test_when_nothing_is_open_the_whole_buffer_is_free() -> None:
    kit = Kit(room=2)
    kit.put()
    kit.put()
    kit.outbox.take(1000)
    kit.outbox.release(1, nothing_open=True)
    kit.put()
    kit.put()


def test_before_the_first_connection_nothing_goes_in() -> None:
    kit = Kit(is_open=False)
    kit.outbox.trouble = "/x: No such file or directory"
    with pytest.raises(TimeoutException, match=r"no connection to here within 0 ms .*: /x: No such file"):
        kit.put()
    kit.outbox.open(1000)
    kit.put()


def test_a_record_beyond_the_limits_is_refused_at_once() -> None:
    kit = Kit()
    kit.outbox.open(RECORD_BYTES)
    kit.put()
    kit.outbox.open(RECORD_BYTES - 1)
    with pytest.raises(RecordTooLargeException, match="a record of 100 bytes as it is sent, here takes at most 99"):
        kit.outbox.put(kit.entry(), 60)
    with pytest.raises(RecordTooLargeException, match="buffer_memory"):
        kit.outbox.put(kit.entry(data=bytes(10_000)), 60)


def test_closed_means_closed_with_the_reason() -> None:
    kit = Kit()
    kit.outbox.close()
    with pytest.raises(IllegalStateException, match="closed"):
        kit.put()
    broken = Kit()
    broken.outbox.close(NetworkException("why"))
    broken.outbox.close()
    with pytest.raises(NetworkException, match="why"):
        broken.put()


def test_only_a_sleeping_thread_is_woken() -> None:
    kit = Kit()
    kit.put()
    assert kit.wakes == 0
    kit.outbox.asleep = True
    kit.put()
    kit.put()
    assert kit.wakes == 1


def test_a_callback_does_not_wait_for_room() -> None:
    kit = Kit(room=1)
    kit.put()
    kit.owner.io_thread = threading.current_thread()
    with pytest.raises(BufferExhaustedException, match="a callback cannot wait"):
        kit.outbox.put(kit.entry(), 60)


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("max_block_s", [0.0, 1e-9])
def test_who_waited_in_vain_leaves_nothing_behind(max_block_s: float, is_open: bool) -> None:
    kit = Kit(room=1, is_open=is_open)
    if is_open:
        kit.put()
    for _ in range(3):
        with pytest.raises(TimeoutException):
            kit.outbox.put(kit.entry(), max_block_s)
    assert not kit.outbox._waiters


def test_who_is_interrupted_while_waiting_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("ingestd.client.outbox.acquire_within", interrupted)
    kit = Kit(room=1)
    kit.put()
    with pytest.raises(KeyboardInterrupt):
        kit.outbox.put(kit.entry(), 60)
    assert not kit.outbox._waiters


def test_a_close_between_the_look_and_the_waiting_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    kit = Kit(room=1)
    kit.put()

    def closing() -> threading.Lock:
        kit.outbox.close()
        return closed_lock()

    monkeypatch.setattr("ingestd.client.outbox.closed_lock", closing)
    monkeypatch.setattr("ingestd.client.outbox.acquire_within", lambda *_: pytest.fail("it waits"))
    with pytest.raises(IllegalStateException):
        kit.outbox.put(kit.entry(), 60)
    assert not kit.outbox._waiters


@pytest.mark.parametrize("what", ["release", "open", "close"])
def test_who_waits_is_woken(what: str) -> None:
    kit = Kit(room=1, is_open=what != "open")
    if what != "open":
        kit.put()
        kit.outbox.take(1)
    started, outcome = threading.Event(), []

    def put() -> None:
        started.set()
        try:
            kit.outbox.put(kit.entry(), 60)
            outcome.append("in")
        except IllegalStateException:
            outcome.append("closed")

    thread = threading.Thread(target=put)
    thread.start()
    started.wait(5)
    if what == "release":
        kit.outbox.release(1000, nothing_open=True)
    elif what == "open":
        kit.outbox.open(1000)
    else:
        kit.outbox.close()
    thread.join(5)
    assert outcome == ["closed" if what == "close" else "in"]


def test_put_and_take_from_many_threads_loses_nothing() -> None:
    kit = Kit(room=10_000)

    def put() -> None:
        for number in range(500):
            kit.put(f"t{number % 3}", b"%d" % number)

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    taken: list[bytes] = []
    while any(thread.is_alive() for thread in threads) or kit.outbox:
        taken += contents(kit.outbox.take(700))
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(b"%d" % i for i in range(500) for _ in range(4))


def test_while_the_thread_lingers_only_a_full_batch_wakes_it() -> None:
    kit = Kit(room=100)
    kit.put("a")
    assert kit.outbox.sleep(3 * RECORD_BYTES)
    for topic in ("a", "b", "b"):
        kit.put(topic)
    assert (kit.wakes, kit.outbox.urgent) == (0, False)
    kit.put("b")
    kit.put("b")
    assert (kit.wakes, kit.outbox.urgent) == (1, True)
    assert kit.outbox.is_due(100 * RECORD_BYTES)


def test_the_thread_does_not_linger_over_a_batch_that_is_full() -> None:
    kit = Kit(room=100)
    kit.put()
    assert kit.outbox.sleep(2 * RECORD_BYTES)
    kit.outbox.asleep = False
    kit.put()
    assert not kit.outbox.sleep(2 * RECORD_BYTES)
    assert kit.outbox.is_due(2 * RECORD_BYTES)
    assert not kit.outbox.is_due(3 * RECORD_BYTES)


@pytest.mark.parametrize("max_block_s", [0.0, 1e-9])
def test_who_finds_no_room_ends_the_lingering(max_block_s: float) -> None:
    kit = Kit(room=1)
    kit.put()
    assert kit.outbox.sleep(1 << 20)
    for _ in range(2):
        with pytest.raises(BufferExhaustedException):
            kit.outbox.put(kit.entry(), max_block_s)
    assert (kit.wakes, kit.outbox.urgent) == (1, True)
    assert not kit.outbox.sleep(1 << 20)


def test_who_finds_no_room_wakes_nobody_who_has_nothing_to_send() -> None:
    kit = Kit(room=1)
    kit.put()
    kit.outbox.take(1)
    assert kit.outbox.sleep(0)
    with pytest.raises(BufferExhaustedException):
        kit.put()
    assert (kit.wakes, kit.outbox.urgent) == (0, False)


def interrupted(work: Callable[[], object], where: Any, step: int, by: Callable[[], object]) -> bool:
    """Does `work`, and `by` in the middle of it: in front of the `step`-th line of `where`. Whether it has so many."""
    steps = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal steps
        if frame.f_code is not where.__code__:
            return trace if event == "call" else None
        if event == "line":
            steps += 1
            if steps == step:
                by()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return steps >= step


def test_a_send_in_the_middle_of_a_send_harms_nothing() -> None:
    """As signal handlers and finalizers do; for a topic that is here already, the same new one, and another new one."""
    for ours, theirs in (("old", "old"), ("new", "new"), ("new", "other")):
        step, inside = 1, True
        while inside:
            kit = Kit(room=10)
            kit.put("old", b"before")
            inside = interrupted(
                lambda: kit.put(ours, b"ours"),  # noqa: B023
                Outbox._try_put,
                step,
                lambda: kit.put(theirs, b"theirs"),  # noqa: B023
            )
            taken = [data for _ in range(4) for data in contents(kit.outbox.take(1 << 20))]
            assert sorted(taken) == sorted([b"before", b"ours"] + [b"theirs"] * inside)
            assert kit.outbox._used_bytes == len(taken) * (RECORD_BYTES + RECORD_OVERHEAD_BYTES)
            step += 1
        assert step > 5


@pytest.mark.parametrize("theirs", ["a", "b", "new"])
@pytest.mark.parametrize("bytes_max", [RECORD_BYTES, 1 << 20])
def test_a_send_in_the_middle_of_taking_is_not_lost(theirs: str, bytes_max: int) -> None:
    """A finalizer in the producer's thread."""
    step, inside = 1, True
    while inside:
        kit = Kit(room=10)
        for topic, data in (("a", b"1"), ("a", b"2"), ("b", b"3")):
            kit.put(topic, data)
        taken: list[bytes] = []
        inside = interrupted(
            lambda: taken.extend(contents(kit.outbox.take(bytes_max))),  # noqa: B023
            Outbox.take,
            step,
            lambda: kit.put(theirs, b"theirs"),  # noqa: B023
        )
        kit.outbox.put_back(kit.outbox.take(bytes_max))
        while kit.outbox:
            taken += contents(kit.outbox.take(bytes_max))
        assert sorted(taken) == sorted([b"1", b"2", b"3"] + [b"theirs"] * inside)
        step += 1
    assert step > 10


def test_a_topic_that_comes_while_the_next_one_is_looked_up_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    kit = Kit()
    kit.put("a")
    late = ["b", "c"]

    def interrupted_iter(topics: Any) -> Any:
        iterator = iter(topics)
        if late:
            kit.put(late.pop())
        return iterator

    monkeypatch.setattr("ingestd.client.outbox.iter", interrupted_iter, raising=False)
    assert [kit.outbox.take(1000)[0][1].topic for _ in range(3)] == ["a", "c", "b"]


def test_who_came_in_the_middle_does_not_wait_for_room() -> None:
    kit = Kit(room=1)
    kit.put()
    for lock in (kit.owner.outbox_lock, kit.owner.lock):
        with lock, pytest.raises(BufferExhaustedException, match=r"signal handler or finalizer .* cannot wait"):
            kit.outbox.put(kit.entry(), 60)
