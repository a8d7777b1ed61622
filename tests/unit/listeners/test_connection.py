"""A connection's end: who waits, who is cut, what the worker is told."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from ingestd.hotpath.intake import Stream
from ingestd.listeners.connection import Connection
from ingestd.listeners.room import Hooks, Room
from ingestd.metrics import Rejected
from tests.reference.native_frame import WireRecord, records_frame
from tests.reference.rig import Rig

FD = 5
END = b""


class Loop:
    """Calls what is due when told to, and reads while the peer's ``chunks`` last."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks
        self.due: list[Callable[[], Any]] = []
        self.readers: dict[int, Callable[[], None]] = {}

    def call_soon(self, callback: Callable[..., Any], *arguments: Any) -> None:
        self.due.append(lambda: callback(*arguments))

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> None:
        del self.readers[fd]

    def run(self) -> None:
        while self.due or (self.chunks and FD in self.readers):
            due, self.due = self.due, []
            for callback in due:
                callback()
            if self.chunks and FD in self.readers:
                self.readers[FD]()


class Socket:
    """The peer's chunks, and how often the socket was closed."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks
        self.closes = 0

    def fileno(self) -> int:
        return FD

    def shutdown(self, _: int) -> None:
        self.chunks.append(END)

    def close(self) -> None:
        self.closes += 1


class Fed:
    """A stream that reads these chunks."""

    def __init__(self, stream: Stream, chunks: list[bytes]) -> None:
        self.stream = stream
        self.chunks = chunks

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def read(self, now_ms: int, tick_ms: int) -> int:
        flags, taken = self.stream.feed(self.chunks[0], now_ms, tick_ms)
        if taken == len(self.chunks[0]):
            del self.chunks[0]
        return flags


class Setup:
    """One connection of ``format_`` whose peer sends ``chunks``, END last if it goes away.

    Records wait for ``awaited``: the partition count of their topic, or room for their partition.
    """

    def __init__(self, format_: str, *chunks: bytes, awaited: str = "count") -> None:
        self.rig = Rig(partitions=1)
        if awaited == "count":
            self.rig.intake.set_partitions(0, b"")
        self.rig.intake.hold(0, 0, awaited == "room")
        sent = list(chunks)
        self.loop = Loop(sent)
        self.wanted: list[int] = []
        hooks = Hooks(
            sealed=lambda: None,
            opened=lambda: None,
            topic_wanted=self.wanted.append,
            memory_short=lambda: None,
            connections=lambda _: None,
            errors=lambda _: None,
        )
        self.room = Room(cast(Any, self.loop), self.rig.intake, hooks)
        self.socket = Socket(sent)
        stream = Fed(self.rig.stream(format_), sent)
        self.connection = Connection(self.room, cast(Any, self.socket), cast(Any, stream), lambda _: None)
        self.connection.start()
        self.loop.run()

    def settle(self, *, refused: bool = False) -> None:
        """The cluster has said something about the topic, or has not in time."""
        if refused:
            self.rig.intake.set_topic_refused(0, True)
        else:
            self.rig.intake.set_partitions(0, b"\1")
        self.room.topic_settled(0)
        self.loop.run()


FRAME = records_frame([WireRecord(b"hello")], topic=b"t0")


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize(("format_", "data"), [("lines", b"hello"), ("lines", b"hello\n"), ("frames", FRAME)])
def test_a_peer_that_goes_away_while_its_topic_is_awaited(format_: str, data: bytes, refused: bool) -> None:
    setup = Setup(format_, data, END)
    assert setup.wanted == [0]
    assert setup.socket.closes == 0
    setup.settle(refused=refused)
    assert setup.wanted == [0]
    assert setup.socket.closes == 1
    assert setup.connection.drained
    assert setup.rig.values() == ([] if refused else [b"hello"])
    assert setup.rig.rejected() == ({Rejected.TOPIC_UNKNOWN: 1} if refused else {})
    setup.rig.check()


def test_a_frame_that_is_cut_behind_a_record_whose_topic_is_awaited() -> None:
    setup = Setup("frames", FRAME + FRAME[:-1], END)
    setup.settle()
    assert setup.socket.closes == 1
    assert setup.rig.values() == [b"hello"]
    assert setup.rig.rejected() == {Rejected.CUT: 1}
    setup.rig.check()


@pytest.mark.parametrize("gone", [False, True])
def test_a_stop_cuts_only_the_line_whose_end_it_keeps_away(gone: bool) -> None:
    setup = Setup("lines", b"hello", *[END] * gone)
    setup.connection.drain()
    setup.settle()
    assert setup.socket.closes == 1
    assert setup.rig.values() == [b"hello"] * gone
    assert setup.rig.rejected() == ({} if gone else {Rejected.CUT: 1})
    setup.rig.check()


def test_a_reader_that_is_closed_while_its_topic_is_awaited() -> None:
    setup = Setup("lines", b"hello", END)
    setup.connection.close()
    setup.settle()
    assert setup.rig.values() == []
    assert setup.rig.rejected() == {Rejected.CUT: 1}
    setup.rig.check()


def test_the_last_line_waits_for_room() -> None:
    setup = Setup("lines", b"last", END, awaited="room")
    assert setup.room.pages_awaited
    assert setup.socket.closes == 0
    setup.rig.intake.hold(0, 0, False)
    setup.room.pages_freed()
    setup.loop.run()
    assert setup.socket.closes == 1
    assert setup.rig.values() == [b"last"]
    setup.rig.check()
