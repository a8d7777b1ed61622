"""Session: the client's side of a stream, without a socket, a clock or a thread.

Bytes from the daemon go into `receive`, bytes for it come out of `output`; futures get their outcome on the way. A
table says which of the daemon's frames may come in which state:

    ABSENT --connected--> GREETING --GRANT--> OPEN --close--> CLOSING --CLOSED--> ENDED
    any but ENDED --disconnected--> ABSENT          GREETING --REDIRECT--> ABSENT (through the route)
"""

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from ingestd.client import frame as protocol
from ingestd.client.answers import (
    Accepted,
    Answer,
    Closed,
    Delivered,
    Error,
    Failed,
    Grant,
    OutcomeUnknown,
    Redirect,
    Rejected,
    decode_answer,
)
from ingestd.client.errors import (
    REJECTED_REASONS,
    ConfigException,
    KafkaException,
    OutcomeUnknownException,
    SessionForgottenException,
    UnsupportedVersionException,
    failed,
    rejected,
)
from ingestd.client.frame import ANSWER_DELIVERED, ANSWER_NONE, Confirm, FrameError, FrameReader, Hello
from ingestd.client.inflight import Frame, InFlight
from ingestd.client.outbox import Entry

# Unwritten bytes above which no more records are taken from the outbox: what stays there can still join a larger frame.
OUTPUT_BYTES_MAX: Final = 256 << 10

# The same connection error so often, with no record answered in between, will not go away by connecting again.
ERRORS_IN_A_ROW_MAX: Final = 3

# malformed, frame_too_large, bad_framing, sequence_gap, unsupported_frame: what was sent, not how the daemon is doing
_OUR_FAULT: Final = frozenset({1, 3, 16, 18, 20})


Piece = tuple[memoryview, Frame | None, bool]
"""Bytes to write, the frame they belong to, and whether some of them were written already."""


class State(Enum):
    """Of the connection; see the module's text."""

    ABSENT = "absent"
    GREETING = "greeting"
    OPEN = "open"
    CLOSING = "closing"
    ENDED = "ended"


_RESULTS: Final = frozenset({Accepted, Rejected, Delivered, Failed, OutcomeUnknown, Error})
_LEGAL: Final[dict[State, frozenset[type[Answer]]]] = {
    State.ABSENT: frozenset(),
    State.GREETING: frozenset({Grant, Redirect, Error}),
    State.OPEN: _RESULTS,
    State.CLOSING: _RESULTS | {Closed},
    State.ENDED: frozenset(),
}


class Session:
    """One sender's records, their sequences, and what is known about each; lives through many connections."""

    def __init__(self, answer: int, name: str) -> None:
        self._answer = answer
        self._name = name
        self._session_id = protocol.NO_SESSION
        self._next_sequence = 1
        self._next_serial = 1
        self._inflight = InFlight()
        self._output: deque[Piece] = deque()
        self._reader = FrameReader()
        self._rejected_sequence = 0  # highest rejection seen
        self._errors_in_a_row = 0
        self._handlers: dict[type[Answer], Callable[[Any], None]] = {
            Grant: self._on_grant,
            Redirect: self._on_redirect,
            Accepted: self._on_accepted,
            Rejected: self._on_rejected,
            Delivered: self._on_delivered,
            Failed: self._on_failed,
            OutcomeUnknown: self._on_outcome_unknown,
            Error: self._on_error,
            Closed: self._on_closed,
        }
        self.output_bytes = 0
        self.state = State.ABSENT
        self.grant: Grant | None = None
        self.redirect_path = ""
        self.progressed = False
        """Set when records were answered; the owner clears it."""
        self.last_error = ""
        self.fatal: KafkaException | None = None
        """Set when no further connection can help."""

    # --- what the owner asks

    @property
    def idle(self) -> bool:
        """Every record that was added has its outcome."""
        return not self._inflight

    @property
    def oldest_serial(self) -> int | None:
        return self._inflight.oldest_serial

    @property
    def newest_serial(self) -> int:
        return self._next_serial - 1

    @property
    def wants_records(self) -> bool:
        return self.state is State.OPEN and self.output_bytes < OUTPUT_BYTES_MAX

    def take_freed_bytes(self) -> int:
        freed_bytes, self._inflight.freed_bytes = self._inflight.freed_bytes, 0
        return freed_bytes

    # --- connection

    def connected(self) -> None:
        """A connection stands: greet. A client that asks for no session greets too, to learn the limits."""
        self.state = State.GREETING
        self._reader = FrameReader()
        self._queue(Hello(self._answer, self._answer != ANSWER_NONE, self._session_id, self._name).encode())

    def disconnected(self) -> None:
        """The connection is gone. What a session did not get answered waits for the next one."""
        self._output.clear()
        self.output_bytes = 0
        self.redirect_path = ""
        if self.state is not State.ENDED:
            self.state = State.ABSENT
        if self._answer == ANSWER_NONE:
            # The daemon keeps the whole records in front of the cut, and at this level nobody tells how many those are.
            error = OutcomeUnknownException("the connection ended while its frame was being written: outcome not known")
            for frame in [frame for frame in self._inflight if frame.started]:
                self._inflight.fail_frame(frame, error)

    def close(self) -> None:
        """Says that nothing more comes. CLOSED follows when all is answered."""
        self._queue(protocol.frame(protocol.CLOSE, b""))
        self.state = State.CLOSING

    def abandon(self, begun: KafkaException, unsent: KafkaException) -> int:
        """Gives up everything that is open, with `unsent` where no byte of a record's frame was ever written, else with
        `begun`; returns how many records that were.
        """
        count = self._inflight.fail_all(begun, unsent)
        self._output.clear()
        self.output_bytes = 0
        self.state = State.ENDED
        return count

    # --- out

    def add(self, entries: list[Entry]) -> None:
        """Records of one topic become a frame; it goes out now, or when there is a connection."""
        frame = Frame(self._next_serial, entries, self._next_sequence)  # if it cannot be made, nothing has happened
        self._next_serial += 1
        self._next_sequence += len(entries)
        self._inflight.add(frame)
        if self.state is State.OPEN:
            self._queue_frame(frame)

    def output(self, count: int) -> list[memoryview]:
        """The next buffers to write, in order."""
        return [self._output[index][0] for index in range(min(count, len(self._output)))]

    def wrote(self, size_bytes: int) -> None:
        """So many bytes of the output were written."""
        self.output_bytes -= size_bytes
        while size_bytes:
            data, frame, _ = self._output[0]
            if frame is not None:
                frame.started = True
            if size_bytes < len(data):
                self._output[0] = (data[size_bytes:], frame, True)
                return
            size_bytes -= len(data)
            self._output.popleft()
            if frame is not None and self._answer == ANSWER_NONE:
                self._inflight.succeed(frame.first_sequence, frame.last_sequence, -1, -1, -1)

    def _queue(self, data: bytes) -> None:
        self._output.append((memoryview(data), None, False))
        self.output_bytes += len(data)

    def _queue_frame(self, frame: Frame) -> None:
        data = frame.data or b""
        self._output.append((memoryview(data), frame, False))
        self.output_bytes += len(data)

    def _confirm(self) -> None:
        """In front of all that is not begun: a daemon takes no 17th rejection before it hears that 16 were seen."""
        data = Confirm(self._rejected_sequence).encode()
        begun = bool(self._output) and self._output[0][2]
        self._output.insert(1 if begun else 0, (memoryview(data), None, False))
        self.output_bytes += len(data)

    # --- in

    def receive(self, data: bytes) -> None:
        """Bytes from the daemon. FrameError: this connection is of no more use."""
        for kind, _, body in self._reader.feed(data):
            answer = decode_answer(kind, body)
            if answer is None:
                continue
            if type(answer) not in _LEGAL[self.state]:
                raise FrameError(f"{type(answer).__name__} while {self.state.value}")
            self._handlers[type(answer)](answer)

    def _progress(self) -> None:
        self.progressed = True
        self._errors_in_a_row = 0

    def _on_accepted(self, answer: Accepted) -> None:
        if self._answer == ANSWER_DELIVERED:
            self._inflight.accepted(answer.last_sequence)
        else:
            self._inflight.succeed(answer.first_sequence, answer.last_sequence, -1, -1, -1)
        self._progress()

    def _on_delivered(self, answer: Delivered) -> None:
        for run in answer.runs:
            for first, count, delta in run.pieces():
                offset = answer.base_offset + delta if answer.base_offset >= 0 else -1
                self._inflight.succeed(first, first + count - 1, answer.partition, offset, answer.timestamp_ms)
        self._progress()

    def _on_failed(self, answer: Failed) -> None:
        error = failed(answer.reason, answer.error_code, answer.text, answer.may_have_been_written)
        for run in answer.runs:
            for first, count, _ in run.pieces():
                self._inflight.fail(first, first + count - 1, error)
        self._progress()

    def _on_outcome_unknown(self, answer: OutcomeUnknown) -> None:
        error = OutcomeUnknownException("accepted, but settled while this client was away: outcome not known")
        self._inflight.fail(answer.first_sequence, answer.last_sequence, error)
        self._progress()

    def _on_redirect(self, answer: Redirect) -> None:
        self.redirect_path = answer.path

    def _on_closed(self, answer: Closed) -> None:  # noqa: ARG002
        self.state = State.ENDED

    def _on_rejected(self, answer: Rejected) -> None:
        last = answer.first_sequence + answer.record_count - 1
        self._inflight.fail(answer.first_sequence, last, rejected(answer.reason, answer.error_code, answer.text))
        self._rejected_sequence = max(self._rejected_sequence, last)
        self._confirm()
        self._progress()

    def _on_error(self, answer: Error) -> None:
        name = REJECTED_REASONS.get(answer.reason, (f"reason {answer.reason}",))[0]
        self.last_error = f"{name}: {answer.text}" if answer.text else name
        if answer.reason in _OUR_FAULT:
            self._errors_in_a_row += 1
        if self._errors_in_a_row >= ERRORS_IN_A_ROW_MAX:
            self.fatal = rejected(answer.reason, 0, answer.text)

    def _on_grant(self, grant: Grant) -> None:
        if grant.version != protocol.VERSION:
            self.fatal = UnsupportedVersionException(
                f"the daemon speaks version {grant.version} of the protocol, this client {protocol.VERSION}"
            )
            return
        if grant.answer != self._answer:
            self.fatal = ConfigException(f"the daemon grants answers of level {grant.answer}, not {self._answer}")
            return
        last_accepted = 0
        if self._answer != ANSWER_NONE:
            if grant.resumed == protocol.SESSION_RESUMED:
                last_accepted = self._resume(grant)
            elif self._session_id != protocol.NO_SESSION:
                self._start_anew()
            self._session_id = grant.session_id
        self.grant = grant
        self.state = State.OPEN
        lost = OutcomeUnknownException("the daemon had accepted it and has lost it since")
        for frame in list(self._inflight):
            if frame.last_sequence > last_accepted:
                if frame.data is not None:
                    self._queue_frame(frame)
                else:
                    self._inflight.fail_frame(frame, lost)

    def _resume(self, grant: Grant) -> int:
        if grant.session_id != self._session_id or grant.last_accepted >= self._next_sequence:
            raise FrameError("the daemon resumed another session")
        if self._rejected_sequence:
            self._queue(Confirm(self._rejected_sequence).encode())
        return grant.last_accepted

    def _start_anew(self) -> None:
        """The old session is forgotten. What of it may be anywhere is reported; what never left starts over."""
        unknown = SessionForgottenException("the daemon has forgotten this session: not known whether it was accepted")
        accepted = OutcomeUnknownException("accepted, but the daemon has forgotten this session: outcome not known")
        for frame in [frame for frame in self._inflight if frame.started]:
            self._inflight.fail_frame(frame, accepted if frame.data is None else unknown)
        self._next_sequence = self._inflight.renumber()
        self._rejected_sequence = 0
