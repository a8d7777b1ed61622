"""From a batch's outcome to the sessions whose records were in it: the producer calls, the connections answer."""

from collections.abc import Callable, Sequence

from ingestd.hotpath.arena import Arena
from ingestd.hotpath.intake import Intake
from ingestd.hotpath.provenance import SessionScan, delivered_frames, failed_frames
from ingestd.hotpath.snapshots import Batch
from ingestd.listeners.connection import Connection
from ingestd.listeners.sessions import Sessions
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
        self._scans: dict[int, SessionScan] = {}
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
        self._scans.pop(id(arena), None)
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
        self,
        arena: Arena,
        batch: Batch,
        texts: dict[int, str],
        reason: int,
        error_code: int,
        may_have_been_written: bool,
    ) -> None:
        """The records at the indexes in ``texts`` are refused; their batch goes on without them."""
        if self.sessions is None or not self.sessions.count:
            return
        topic = self._topic(arena, batch.topic)
        text = next(iter(texts.values()), "").encode()[:TEXT_BYTES_MAX]
        frames = failed_frames(arena, batch.entry, topic, reason, error_code, may_have_been_written, text, texts)
        for row, frame in frames:
            connection = self._connection(arena, row)
            if connection is not None:
                connection.answer(frame)

    def on_split(self, arena: Arena, batch: Batch, second: Batch) -> None:
        """Half of the records of ``batch`` are in ``second`` from now on."""
        if self.sessions is not None:
            self.sessions.divided(id(arena), batch.entry, second.entry)

    def on_freed(self) -> None:
        """Pages came back."""
        self._freed()

    def _tell(self, arena: Arena, entry: int, frames: Sequence[tuple[int, bytes]]) -> None:
        for row, frame in frames:
            connection = self._connection(arena, row)
            if connection is not None:
                connection.answer(frame)
        if self.sessions is not None:
            self.sessions.settled(id(arena), entry)

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

    def buffered(self, row: int) -> list[tuple[int, int]]:
        """Sequences of the session in row ``row`` of the worker's own arena that wait for their outcome, as ranges."""
        return [stretch for _, _, stretches in self._found(row) for stretch in stretches]

    def unsettled(self, row: int) -> set[tuple[int, int]]:
        """The batches (arena, entry) that these are in. Those still open are sealed: the session waits for them."""
        found = self._found(row)
        if self._intake.seal_batches(found[0][1]):
            self._sealed()
            # What goes out may have its outcome at once.
            found = self._found(row)
        return {(arena, entry) for arena, entries, _ in found for entry in entries}

    def _found(self, row: int) -> list[tuple[int, list[int], list[tuple[int, int]]]]:
        """(arena, entries, stretches) of every arena that knows the session; the worker's own is the first."""
        own, *others = self._arenas()
        found = [(id(own), *self._scan(own).find(row))]
        session = own.session_at(row) if others else None
        if session is not None:
            for arena in others:
                for index, session_id in self._session_ids(arena).items():
                    if session_id == session.session_id:
                        found.append((id(arena), *self._scan(arena).find(index)))
        return found

    def _scan(self, arena: Arena) -> SessionScan:
        scan = self._scans.get(id(arena))
        if scan is None:
            scan = self._scans[id(arena)] = SessionScan(arena)
        return scan
