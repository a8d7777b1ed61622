"""From a batch's outcome to the sessions whose records were in it: the producer calls, the connections answer."""

from collections.abc import Callable, Sequence

from ingestd.hotpath.arena import Arena
from ingestd.hotpath.intake import Intake
from ingestd.hotpath.provenance import delivered_frames, failed_frames
from ingestd.hotpath.snapshots import Batch
from ingestd.listeners.connection import Connection
from ingestd.listeners.sessions import SESSION_KIND, Buffered, Sessions
from ingestd.listeners.wire import TEXT_BYTES_MAX


class Answers:
    """Finds the connection behind a session row, in whichever of the worker's arenas the batch is.

    ``arenas``: the worker's own first. Sessions of drain-only arenas go by their ids.
    """

    def __init__(
        self,
        arenas: Callable[[], Sequence[Arena]],
        intake: Intake,
        sealed: Callable[[], None],
        freed: Callable[[], None],
    ) -> None:
        self._arenas = arenas
        self._intake = intake
        self._sealed = sealed
        self._freed = freed
        self._topic_names: dict[tuple[int, int], bytes] = {}
        self._rows: dict[int, dict[int, bytes]] = {}
        self.sessions: Sessions | None = None

    def _topic(self, arena: Arena, index: int) -> bytes:
        key = id(arena), index
        name = self._topic_names.get(key)
        if name is None:
            for topic in arena.topics():
                self._topic_names[id(arena), topic.index] = topic.name.encode()
            name = self._topic_names[key]
        return name

    def forget(self, arena: Arena) -> None:
        """A drain-only arena is gone."""
        self._rows.pop(id(arena), None)
        for key in [key for key in self._topic_names if key[0] == id(arena)]:
            del self._topic_names[key]

    # What the producer says

    def on_delivered(self, arena: Arena, batch: Batch, base_offset: int, log_append_time_ms: int) -> None:
        """The batch is in Kafka; called while its provenance is still there."""
        if self.sessions is None or not self.sessions.count:
            return
        topic = self._topic(arena, batch.topic)
        self._tell(arena, batch.entry, delivered_frames(arena, batch.entry, topic, base_offset, log_append_time_ms))

    def on_failed(
        self, arena: Arena, batch: Batch, reason: int, error_code: int, may_have_been_written: bool, text: str
    ) -> None:
        """The batch was given up; called while its provenance is still there."""
        if self.sessions is None or not self.sessions.count:
            return
        topic = self._topic(arena, batch.topic)
        frames = failed_frames(
            arena, batch.entry, topic, reason, error_code, may_have_been_written, text.encode()[:TEXT_BYTES_MAX]
        )
        self._tell(arena, batch.entry, frames)

    def on_records_failed(
        self, arena: Arena, batch: Batch, texts: dict[int, str], reason: int, error_code: int
    ) -> None:
        """The records at the indexes in ``texts`` are refused; their batch goes on without them."""
        if self.sessions is None or not self.sessions.count:
            return
        topic = self._topic(arena, batch.topic)
        text = next(iter(texts.values()), "").encode()[:TEXT_BYTES_MAX]
        for row, frame in failed_frames(arena, batch.entry, topic, reason, error_code, False, text, texts):
            connection = self._connection(arena, row)
            if connection is not None:
                connection.answer(frame)

    def on_freed(self) -> None:
        """Pages came back."""
        self._freed()

    def _tell(self, arena: Arena, entry: int, frames: Sequence[tuple[int, bytes]]) -> None:
        for row, frame in frames:
            connection = self._connection(arena, row)
            if connection is not None:
                connection.answer(frame)
                connection.settled(id(arena), entry)

    def _connection(self, arena: Arena, row: int) -> Connection | None:
        sessions = self.sessions
        if sessions is None:
            return None
        own = self._arenas()[0]
        if arena is not own:
            session = own.session_find(self._session_ids(arena).get(row, b""))
            if session is None:
                return None
            row = session.index
        holder = sessions.holder(row)
        return holder if isinstance(holder, Connection) else None

    def _session_ids(self, arena: Arena) -> dict[int, bytes]:
        rows = self._rows.get(id(arena))
        if rows is None:
            rows = self._rows[id(arena)] = {session.index: session.session_id for session in arena.sessions()}
        return rows

    # What a session that comes back, or ends, wants to know

    def buffered(self, row: int) -> list[Buffered]:
        """Runs of the session in row ``row`` of the worker's own arena that wait for their outcome."""
        self._intake.seal_all()
        self._sealed()
        own, *others = self._arenas()
        found = _runs_of(own, row)
        session_id = next((session.session_id for session in own.sessions() if session.index == row), b"")
        for arena in others:
            for index, known in self._session_ids(arena).items():
                if known == session_id:
                    found += _runs_of(arena, index)
        return found


def _runs_of(arena: Arena, row: int) -> list[Buffered]:
    return [
        Buffered(id(arena), batch.entry, run)
        for batch in arena.recovered()
        for run in arena.provenance(batch.entry)
        if run.kind == SESSION_KIND and run.sender == row and run.delivered
    ]
