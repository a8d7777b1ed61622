"""One accepted connection, from its socket's bytes to committed records."""

class Stream:
    """Made by ``Intake.stream``. Flags, and what to do next, are described in ``ingestd.hotpath.intake``."""

    accepted_sequence: int
    """All records up to this sequence are committed, or refused and waiting in ``take_rejections()``."""
    wanted_topic: int
    """With TOPIC_WAIT: index of the topic; else -1."""
    blocked_reason: int
    """With BLOCKED: one of intake's BLOCKED_BY constants."""
    records_begun: bool
    """Whether a RECORDS frame was found on it, be it an empty or an unfinished one."""
    held_bytes: int
    """Bytes that were read and wait: an incomplete unit, or all behind the place where it stopped."""
    hold_ticket: int
    """With BLOCKED_BY_HOLD: its number in the queue; see ``Intake.hold_turn``."""
    crowding: bool
    """It holds more than its free bytes while more than half of the common budget is used."""
    awaited: bool
    """It exceeds the budget, as the one stream that may, or is about to; others wait for it to finish its unit."""
    error_reason: int
    """With BROKEN: a rejection reason."""
    error_text: str
    error_number: int
    """With ERRNO."""

    def read(self, now_ms: int, tick_ms: int) -> int:
        """One ``recv()`` at most, then all that it allows. A stream that holds a remainder goes on with that instead,
        as ``resume``."""
    def feed(self, data: bytes, now_ms: int, tick_ms: int) -> tuple[int, int]:
        """As ``read``, from ``data`` instead of the socket; b"" is its end. Returns flags and how many bytes were
        taken."""
    def resume(self, now_ms: int, tick_ms: int) -> int:
        """Goes on with the held remainder, without reading. 0 if there is none."""
    def finish(self, cut: bool, now_ms: int, tick_ms: int) -> int:
        """The end. ``cut`` False: the peer closed, an unterminated last line is a record, an incomplete frame is
        rejected{cut}; may return BLOCKED or TOPIC_WAIT, then call ``resume`` and ``finish`` again. True: we closed,
        whatever is held is rejected{cut}."""
    def refuse_frame(self, reason: int, now_ms: int, tick_ms: int) -> None:
        """Counts what the stream holds as one rejected frame, and drops it: the connection is to be closed."""
    def take_control(self) -> list[tuple[int, int, bytes]]:
        """Frames other than RECORDS as (type, flags, body), oldest first."""
    def take_rejections(self) -> list[tuple[int, int, int]]:
        """(first sequence, count, reason) since the last call, oldest first. Only with a session or an answer level."""
    def set_topic_id(self, topic_id: int, topic_index: int) -> None:
        """What RECORDS frames of this connection mean by that id. -1: a topic that is not allowed, -2: an illegal
        name."""
    def set_session(self, session_index: int, answer: int) -> None:
        """Binds the connection to a row of the arena's session table (-1: none). ``answer``: 0 none, 1 accepted, 2
        delivered."""
