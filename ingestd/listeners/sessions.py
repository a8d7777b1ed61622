"""Sessions of the native protocol: which row of the arena's table, which connection, what a returning client must hear.

A session belongs to the worker that granted it; its id begins with that worker's index, so that any worker can tell
where a client that comes back by the shared path belongs.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from ingestd.config.plan import keeper
from ingestd.hotpath.errors import ArenaFull
from ingestd.hotpath.snapshots import Session
from ingestd.limits import FRAME_BYTES_MAX
from ingestd.listeners import wire
from ingestd.listeners.wire import Answer, Grant, Hello, Resumed


class SessionTable(Protocol):
    """What is asked of the arena."""

    def session_find(self, session_id: bytes) -> Session | None: ...
    def session_open(self, session_id: bytes, now_ms: int) -> Session: ...
    def session_disconnected(self, index: int, now_ms: int) -> None: ...
    def session_close(self, index: int) -> None: ...
    def session_forgettable(self, now_ms: int) -> int: ...


class Holder(Protocol):
    """A connection that speaks for a session."""

    def superseded(self) -> None:
        """The same session came back on another connection: close, and take nothing more in."""

    def answer(self, frame: bytes) -> None:
        """Sends an answer that came up behind the reading."""

    def settled(self, arena: int, entry: int) -> None:
        """The batch ``entry`` of an arena has its outcome, which was told; whether it concerns the session or not."""

    def divided(self, arena: int, entry: int, second: int) -> None:
        """Half of the batch ``entry`` is in ``second`` from now on, whose outcome is told by itself."""


class Greeting(NamedTuple):
    """How HELLO is met: replies in order, and the row to use (-1: none); ``close`` when this is the wrong place."""

    replies: list[bytes]
    session: int = -1
    close: bool = False


class Sessions:
    """The sessions of one worker and who holds them at the moment.

    ``buffered`` gives the sequences of a session row that are still in an arena, as ranges (first, last); ``unsettled``
    the batches (arena, entry) that they are in, which it sends off.
    """

    def __init__(
        self,
        table: SessionTable,
        worker: int,
        workers: int,
        buffered: Callable[[int], Sequence[tuple[int, int]]],
        unsettled: Callable[[int], set[tuple[int, int]]],
    ) -> None:
        self._table = table
        self._worker = worker
        self._workers = workers
        self._buffered = buffered
        self._unsettled = unsettled
        self._holders: dict[int, Holder] = {}
        self._closing: set[Holder] = set()

    @property
    def count(self) -> int:
        """Sessions that are connected now."""
        return len(self._holders)

    def holder(self, index: int) -> Holder | None:
        return self._holders.get(index)

    def hold(self, index: int, holder: Holder) -> None:
        self._holders[index] = holder

    def lost(self, index: int, holder: Holder, now_ms: int) -> None:
        """The connection is gone, the session waits to be resumed (if it has no other connection by now)."""
        self._closing.discard(holder)
        if self._holders.get(index) is holder:
            del self._holders[index]
            self._table.session_disconnected(index, now_ms)

    def end(self, index: int, holder: Holder) -> None:
        """The client closed the session and has all its answers."""
        self._closing.discard(holder)
        if self._holders.get(index) is holder:
            del self._holders[index]
            self._table.session_close(index)

    def unsettled(self, index: int, holder: Holder) -> set[tuple[int, int]]:
        """The batches (arena, entry) that hold records of the session; those still open were sealed.

        If there are any, ``holder`` is told by :meth:`Holder.settled` of all outcomes until its session ends.
        """
        batches = self._unsettled(index)
        if batches:
            self._closing.add(holder)
        return batches

    def settled(self, arena: int, entry: int) -> None:
        """A batch has its outcome. Who waits for it may have no records in it any more, if it was repaired."""
        for holder in self._closing:
            holder.settled(arena, entry)

    def divided(self, arena: int, entry: int, second: int) -> None:
        """A batch was split: who waits for it waits for both halves."""
        for holder in self._closing:
            holder.divided(arena, entry, second)

    def greet(self, hello: Hello, own_paths: Sequence[bytes], record_bytes_max: int, now_ms: int) -> Greeting:
        """Decides on HELLO; ``own_paths`` are those of the listener that it came by, by worker index."""
        if not hello.session_wanted:
            grant = Grant(hello.answer, Resumed.NEW, wire.NO_SESSION_ID, 0, FRAME_BYTES_MAX, record_bytes_max, b"")
            return Greeting([grant.encode()])
        resumed = Resumed.NEW
        session = None
        if hello.session_id != wire.NO_SESSION_ID:
            session = self._table.session_find(hello.session_id)
            if session is None:
                home = keeper(int.from_bytes(hello.session_id[:2], "little"), self._workers)
                if home != self._worker:
                    return Greeting([wire.redirect(own_paths[home])], close=True)
                resumed = Resumed.FORGOTTEN
        replies: list[bytes] = []
        if session is None:
            session = self._open(now_ms)
        else:
            resumed = Resumed.RESUMED
            session = self._take_over(session)
            replies = self._what_happened(session, hello.answer)
        grant = Grant(
            hello.answer,
            resumed,
            session.session_id,
            session.last_accepted,
            FRAME_BYTES_MAX,
            record_bytes_max,
            own_paths[self._worker],
        )
        return Greeting([grant.encode(), *replies], session.index)

    def _open(self, now_ms: int) -> Session:
        """A new session; when the table is full, the one longest disconnected with nothing buffered is forgotten.

        Raises ArenaFull when all are in use.
        """
        session_id = self._worker.to_bytes(2, "little") + os.urandom(wire.SESSION_ID_BYTES - 2)
        try:
            return self._table.session_open(session_id, now_ms)
        except ArenaFull:
            index = self._table.session_forgettable(now_ms)
            if index < 0:
                raise
            self._table.session_close(index)
            return self._table.session_open(session_id, now_ms)

    def _take_over(self, session: Session) -> Session:
        """The row of a session that came back, after an older connection of it has let go."""
        older = self._holders.get(session.index)
        if older is not None:
            older.superseded()
        self._table.session_disconnected(session.index, 0)
        fresh = self._table.session_find(session.session_id)
        return session if fresh is None else fresh

    def _what_happened(self, session: Session, answer: Answer) -> list[bytes]:
        """Rejections never confirmed, how far it was accepted, and (level delivered) what was settled meanwhile."""
        replies = [wire.rejected(sequence, 1, reason) for sequence, reason in session.rejections]
        if session.last_accepted:
            # The answer that covered the last records may have been lost with the connection.
            replies.append(wire.accepted(1, session.last_accepted))
        if answer is Answer.DELIVERED:
            known = [sequence for sequence, _ in session.rejections]
            buffered = self._buffered(session.index)
            replies += [wire.outcome_unknown(*gap) for gap in unknown_ranges(session.last_accepted, buffered, known)]
        return replies


def unknown_ranges(
    last_accepted: int, buffered: Iterable[tuple[int, int]], rejected: Iterable[int]
) -> list[tuple[int, int]]:
    """Ranges (first, last) up to ``last_accepted`` that are neither ``buffered`` nor ``rejected``: settled, or lost."""
    unknown = []
    expected = 1
    for first, last in sorted([*buffered, *((number, number) for number in rejected)]):
        if first > last_accepted:
            break
        if first > expected:
            unknown.append((expected, first - 1))
        expected = max(expected, last + 1)
    if expected <= last_accepted:
        unknown.append((expected, last_accepted))
    return unknown
