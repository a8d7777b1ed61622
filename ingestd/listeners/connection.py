"""One accepted connection: reads, stops and goes on as the record path says, answers where the format has answers."""

import asyncio
import contextlib
import logging
import select
import socket
from collections.abc import Callable
from enum import IntFlag
from typing import Final

from ingestd.hotpath import intake as path
from ingestd.hotpath.intake import Stream
from ingestd.listeners import wire
from ingestd.listeners.conversation import Conversation
from ingestd.listeners.replies import Replies
from ingestd.listeners.room import Room, clock
from ingestd.listeners.wire import Answer
from ingestd.metrics import Rejected

logger = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 5.0
"""How long a connection that is being closed may take to read its last answers."""
PARTIAL_MS: Final = 30_000
"""How long a frame may stand unfinished without any record of it coming in; and a line, if the bytes of it that are
held are missed elsewhere."""
TURN_MS: Final = 2_000
"""How long a peer may take to finish the one unit that exceeds the budget of held bytes, while others wait for that."""
_PROGRESS: Final = path.ACCEPTED | path.REJECTED | path.CONTROL
_PARKED: Final = path.BLOCKED | path.TOPIC_WAIT
_ENDED: Final = path.EOF | path.BROKEN | path.ERRNO
_STOPPED: Final = _PARKED | _ENDED
_BATCHES: Final = path.SEALED | path.OPENED


class Pause(IntFlag):
    """Why a connection is not read; it is read when there is no reason left."""

    PARKED = 1
    """The record path holds a remainder: go on by resume()."""
    REPLIES = 2
    """The peer does not read its answers."""
    ENDING = 4
    """Nothing more is read from it; what is left are answers."""


_NOTHING: Final = Pause(0)


class Connection:
    """Owns the socket and its stream. ``on_closed`` is called once, when the socket is closed."""

    def __init__(
        self, room: Room, sock: socket.socket, stream: Stream, on_closed: Callable[["Connection"], None]
    ) -> None:
        self._room = room
        self._socket = sock
        self._fd = sock.fileno()
        self._stream = stream
        self._on_closed = on_closed
        self._pause = Pause(0)
        self._reading = False
        self._replies = Replies()
        self._writing = False
        self._flushing = False
        self._draining = False
        self._ended = False
        self._ended_by_us = False
        self._closed = False
        self._deadline: asyncio.TimerHandle | None = None
        self.conversation: Conversation | None = None
        self.spoke_otherwise = False
        """Its peer has sent something, and no whole frame where frames are expected."""
        self.unsettled: set[tuple[int, int]] | None = None
        """After CLOSE: batches (arena, entry) whose outcome the session still has to hear."""
        self.partial_since_ms = 0
        """Monotonic time since which an unfinished frame or line made no progress; 0: none."""
        self._turn = 0, 0
        """Ticket of the turn that others wait for, and since when."""
        self._respite = False
        """Its time was over with bytes of it unread: they are read by the next time that it is asked for."""

    def start(self) -> None:
        """Begins to read."""
        self._read_on()

    # Reading

    def _read_on(self, no_longer: Pause = _NOTHING) -> None:
        """Takes a reason back and reads if there is no other."""
        self._pause &= ~no_longer
        if not self._pause and not self._reading and not self._closed:
            self._reading = True
            self._room.loop.add_reader(self._fd, self._readable)
            if no_longer:
                self._watch(0, clock()[1])

    def _watch(self, flags: int, tick_ms: int) -> None:
        """Notes since when the peer has owed the rest of a frame or line."""
        if not self._stream.held_bytes:
            self.partial_since_ms = 0
        elif flags & _PROGRESS or not self.partial_since_ms:
            self.partial_since_ms = tick_ms

    def _stop_reading(self, reason: Pause) -> None:
        self._pause |= reason
        # From here on it is not the peer who is waited for.
        self.partial_since_ms = 0
        if self._reading:
            self._reading = False
            self._room.loop.remove_reader(self._fd)

    def _readable(self) -> None:
        now_ms, tick_ms = clock()
        self._after(self._stream.read(now_ms, tick_ms), now_ms, tick_ms)

    def resume(self) -> bool:
        """Goes on with what the record path holds; False: it is blocked again."""
        if self._closed or not self._pause & Pause.PARKED:
            return True
        self._pause &= ~Pause.PARKED
        now_ms, tick_ms = clock()
        self._after(self._stream.resume(now_ms, tick_ms), now_ms, tick_ms)
        self._read_on()
        return not self._pause & Pause.PARKED

    def _after(self, flags: int, now_ms: int, tick_ms: int) -> None:
        """What a read led to. Most have only brought records, and leave the connection as it was."""
        room = self._room
        if flags & _BATCHES or room.budget_awaited:
            room.note(flags)
        talk = self.conversation
        if talk is not None:
            flags = self._converse(talk, flags, now_ms, tick_ms)
        else:
            self._watch(flags, tick_ms)
        if (flags & _STOPPED or self._ended) and not self._closed:
            self._stop(flags, now_ms, tick_ms)
        if self._replies.size_bytes:
            self._flush()

    def _stop(self, flags: int, now_ms: int, tick_ms: int) -> None:
        """The record path waits, or nothing more comes."""
        if flags & _PARKED:
            self._park(flags)
        if self._pause & Pause.PARKED:
            return
        if flags & _ENDED:
            self._end(flags)
        elif self._ended:
            self._finish(now_ms, tick_ms)

    def _converse(self, talk: Conversation, flags: int, now_ms: int, tick_ms: int) -> int:
        """Answers, and goes on behind control frames until the record path stops for something else."""
        while True:
            if flags & _PROGRESS:
                for reply in talk.progress():
                    self._replies.add(reply)
            self._watch(flags, tick_ms)
            if not flags & path.CONTROL:
                return flags
            for reply in talk.control(now_ms, tick_ms):
                self._replies.add(reply)
            if talk.finished:
                self._stop_reading(Pause.ENDING)
                self._close_when_flushed()
                return 0
            if talk.closing:
                self._stop_reading(Pause.ENDING)
                self._on_close_wanted(talk)
                return 0
            flags = self._stream.resume(now_ms, tick_ms)
            self._room.note(flags)

    def _park(self, flags: int) -> None:
        reason = self._stream.blocked_reason
        if flags & path.BLOCKED and reason == path.BLOCKED_BY_CONFIRM:
            # What unblocks it is a CONFIRM frame from this very connection: goes on reading, to find that.
            return
        self._stop_reading(Pause.PARKED)
        stream = self._stream
        self._room.park(self, flags, reason, stream.wanted_topic, stream.hold_ticket)

    # Ending

    def _end(self, flags: int) -> None:
        """The peer is gone, or the stream can no longer be understood."""
        self._ended = True
        talk = self.conversation
        unread = flags & path.BROKEN or (self._stream.held_bytes and not self._draining)
        self.spoke_otherwise = talk is not None and not talk.begun and bool(unread)
        # What a drain ends may be the middle of a line.
        self._ended_by_us = self._draining
        now_ms, tick_ms = clock()
        if flags & path.BROKEN:
            if talk is not None:
                self._replies.add(wire.error(self._stream.error_reason, self._stream.error_text))
            self._stop_reading(Pause.ENDING)
            self._close_when_flushed()
            return
        self._stop_reading(Pause.ENDING)
        if flags & path.ERRNO:
            self._replies.clear()
        self._finish(now_ms, tick_ms)

    def _finish(self, now_ms: int, tick_ms: int) -> None:
        """Takes the last record that has no end, if the format allows it; it may have to wait for room as any other."""
        flags = self._stream.finish(self._ended_by_us, now_ms, tick_ms)
        self._room.note(flags)
        talk = self.conversation
        if talk is not None and not self._draining:
            flags = self._converse(talk, flags, now_ms, tick_ms)
            if talk.finished or talk.closing:
                return
        if flags & _PARKED:
            self._park(flags)
            if not self._pause & Pause.PARKED:
                self._replies.add(wire.error(Rejected.STALLED, "16 rejections are unconfirmed, and nothing more comes"))
                self._close_when_flushed()
            return
        if self._draining and self._awaits_outcome():
            # The peer cannot send any more but still listens: the end of the drain closes it.
            return
        self._close_when_flushed()

    def _awaits_outcome(self) -> bool:
        return self.conversation is not None and self.conversation.answer is Answer.DELIVERED

    def _on_close_wanted(self, talk: Conversation) -> None:
        """CLOSE: nothing more comes; CLOSED is said once everything in the session was answered."""
        self.unsettled = talk.unsettled() or None
        if self.unsettled is None:
            self._settle_close()

    def settled(self, arena: int, entry: int) -> None:
        """A batch has its outcome, which was told before."""
        if self.unsettled is not None:
            self.unsettled.discard((arena, entry))
            if not self.unsettled:
                self.unsettled = None
                # Not from within the producer's own turn: the end of a connection may seal batches.
                self._room.loop.call_soon(self._settle_close)

    def divided(self, arena: int, entry: int, second: int) -> None:
        """Half of a batch has an outcome of its own."""
        if self.unsettled is not None and (arena, entry) in self.unsettled:
            self.unsettled.add((arena, second))

    def _settle_close(self) -> None:
        """All is answered: the session ends."""
        if self._closed:
            return
        talk = self.conversation
        if talk is not None:
            talk.end_session()
        self._replies.add(wire.closed())
        self._close_when_flushed()

    def _close_when_flushed(self) -> None:
        self._flushing = True
        self._flush()
        if not self._closed and self._deadline is None:
            self._deadline = self._room.loop.call_later(FLUSH_SECONDS, self.close)

    def drain(self) -> None:
        """The daemon stops: the peer sees EPIPE on its next write; what it has sent already is read to the end."""
        self._draining = True
        try:
            self._socket.shutdown(socket.SHUT_RD)
        except OSError:
            self.close()

    @property
    def drained(self) -> bool:
        """Whether everything that it had sent was taken in."""
        return self._closed or (self._ended and not self._pause & Pause.PARKED)

    def overdue(self, tick_ms: int) -> bool:
        """Whether the peer has left a frame or a line unfinished for too long. Asked once a second."""
        if not self._late(tick_ms):
            self._respite = False
            return False
        # A worker that was stopped itself comes here before it reads. Only once: a peer may send a byte now and then.
        self._respite = not self._respite and self._polls(select.POLLIN)
        return not self._respite

    def _late(self, tick_ms: int) -> bool:
        stream = self._stream
        turn = stream.hold_ticket if self._reading and stream.awaited else 0
        if turn != self._turn[0]:
            self._turn = turn, tick_ms
        if turn and tick_ms - self._turn[1] >= TURN_MS:
            return True
        if not self.partial_since_ms or tick_ms - self.partial_since_ms <= PARTIAL_MS:
            return False
        # A program whose output is buffered may rest in the middle of a line for as long as it likes.
        return self.conversation is not None or stream.crowding

    @property
    def abandoned(self) -> bool:
        """Whether the peer is gone after CLOSE, when nothing is read that would tell.

        One that has only closed its half still listens.
        """
        if self.unsettled is None:
            return False
        return self._polls(0)

    def _polls(self, events: int) -> bool:
        """Whether any of ``events``, or the peer's end, can be seen on the socket."""
        poll = select.poll()
        poll.register(self._fd, events)
        return bool(poll.poll(0))

    def stalled(self) -> None:
        """A frame or line did not arrive in time."""
        now_ms, tick_ms = clock()
        self._stream.refuse_frame(Rejected.STALLED, now_ms, tick_ms)
        if self.conversation is not None:
            self._replies.add(wire.error(Rejected.STALLED, "a frame did not arrive in time"))
        self._stop_reading(Pause.ENDING)
        self._close_when_flushed()

    def superseded(self) -> None:
        """The session came back on another connection."""
        self.close()

    def close(self) -> None:
        """Closes the socket now; what is unfinished is counted as cut."""
        if self._closed:
            return
        self._closed = True
        room = self._room
        self._stop_reading(Pause.ENDING)
        if self._writing:
            room.loop.remove_writer(self._fd)
        if self._deadline is not None:
            self._deadline.cancel()
        room.forget(self)
        now_ms, tick_ms = clock()
        room.note(self._stream.finish(True, now_ms, tick_ms))
        if self.conversation is not None:
            self.conversation.lost(now_ms)
        with contextlib.suppress(OSError):
            # What came up in this very turn of the loop is still told.
            while chunk := self._replies.next_chunk():
                self._replies.sent(self._socket.send(chunk))
        self._socket.close()
        self._on_closed(self)

    # Answers

    def answer(self, frame: bytes) -> None:
        """Queues an answer that came up behind the reading; sent once per turn of the loop."""
        if self._closed:
            return
        if not self._replies.size_bytes or self._replies.over_limit:
            self._room.loop.call_soon(self._flush)
        self._replies.add(frame)

    def _flush(self) -> None:
        if self._closed:
            return
        replies = self._replies
        try:
            while chunk := replies.next_chunk():
                replies.sent(self._socket.send(chunk))
        except BlockingIOError:
            self._wait_for_peer()
            return
        except OSError:
            # The peer is gone; what it sent before is still to be read, up to the end of file.
            replies.clear()
        if self._writing:
            self._writing = False
            self._room.loop.remove_writer(self._fd)
        if self._flushing:
            self.close()
        elif self._pause & Pause.REPLIES:
            self._read_on(Pause.REPLIES)

    def _wait_for_peer(self) -> None:
        if not self._writing:
            self._writing = True
            self._room.loop.add_writer(self._fd, self._flush)
        if self._replies.over_limit:
            logger.warning("closed a connection that does not read its answers")
            self.close()
        elif self._replies.over_pause:
            self._stop_reading(Pause.REPLIES)
        elif self._pause & Pause.REPLIES and self._replies.under_pause:
            self._read_on(Pause.REPLIES)
