"""A worker's buffer: one mapped file that is the accumulator, the crash safety and the outage spool."""

from collections.abc import Callable, Iterable, Iterator
from os import PathLike

from typing_extensions import Buffer

from ingestd.hotpath.errors import ArenaDamaged as ArenaDamaged
from ingestd.hotpath.errors import ArenaError as ArenaError
from ingestd.hotpath.errors import ArenaFull as ArenaFull
from ingestd.hotpath.errors import ArenaInUse as ArenaInUse
from ingestd.hotpath.errors import ArenaLayoutUnknown as ArenaLayoutUnknown
from ingestd.hotpath.errors import ArenaStateError as ArenaStateError
from ingestd.hotpath.snapshots import Batch as Batch
from ingestd.hotpath.snapshots import BatchState as BatchState
from ingestd.hotpath.snapshots import Damage as Damage
from ingestd.hotpath.snapshots import Record as Record
from ingestd.hotpath.snapshots import Run as Run
from ingestd.hotpath.snapshots import Salvaged as Salvaged
from ingestd.hotpath.snapshots import Session as Session
from ingestd.hotpath.snapshots import Topic as Topic

class Arena:
    """The buffer of one worker. Made by ``create`` or ``open``; only one thread may use it."""

    path: str | None
    damage: list[Damage]  # what recovery put aside when this arena was opened
    free_pages: int  # outside the reserve
    free_reserve_pages: int
    buffered_records: int  # running gauge; buffered() counts them anew
    open_batches: int  # with at least one committed record
    sealed_batches: int
    stamped_batches: int
    frees: int  # batches whose pages came back, ever: tells a waiting reader to try again
    file_bytes: int

    @classmethod
    def create(
        cls,
        path: str | PathLike[str] | None,
        *,
        buffer_bytes: int,
        topic_capacity: int = 256,
        session_capacity: int = 0,
        reserve_pages: int | None = None,
        now_ms: int,
    ) -> Arena:
        """A new arena of about ``buffer_bytes``, as a file, or in memory if ``path`` is None.

        FileExistsError; ArenaInUse; OSError when there is no space; ValueError when it is too small for its tables.
        """
    @classmethod
    def open(cls, path: str | PathLike[str], *, now_ms: int) -> Arena:
        """The arena in that file, recovered: open batches are cut at their last commit and sealed.

        What was damaged is in ``damage`` and in files of its own beside it.
        ArenaInUse, ArenaDamaged, ArenaLayoutUnknown, OSError.
        """
    def close(self) -> None:
        """Lets the file and its lock go. ArenaStateError while a view of a batch is held."""
    @property
    def arena_id(self) -> bytes: ...
    @property
    def buffer_bytes(self) -> int:
        """The size as configured at creation; the file may be a little smaller."""
    @property
    def created_ms(self) -> int:
        """Wall clock at its creation."""
    topic_count: int  # rows of the topic table in use; they are never given back
    @property
    def topic_capacity(self) -> int: ...
    @property
    def session_capacity(self) -> int: ...
    @property
    def page_count(self) -> int:
        """Data pages outside the reserve."""
    @property
    def reserve_pages(self) -> int:
        """Pages that only compression and repair may take, for the moment of a swap."""
    @property
    def level(self) -> float:
        """Share of the pages outside the reserve that is in use, 0 to 1."""
    @property
    def oldest_created_ms(self) -> int:
        """When the oldest batch in the arena was opened; 0: the arena is empty."""
    @property
    def emptied(self) -> bool:
        """Nothing is left in the arena: no batch, and no damaged one that could not be put aside."""
    @property
    def cluster_id(self) -> str:
        """Of the cluster that the stamped batches were made for; "" when not set, or damaged."""
    def set_cluster_id(self, cluster_id: str) -> None:
        """Stores the cluster id; ValueError beyond 120 bytes."""
    def topics(self) -> list[Topic]:
        """The topic table's rows in use. Indexes stay as they are for the life of the arena."""
    def topic_add(self, name: str) -> int:
        """Row of the topic of that name, a new one if there is none; ArenaFull when the table is."""
    def topic_update(self, index: int, topic_id: bytes, partition_count: int) -> None:
        """Stores what metadata said about a topic."""
    def batch(self, entry: int) -> Batch:
        """Snapshot of the batch in that entry, which must be in use."""
    def recovered(self) -> list[Batch]:
        """All SEALED and STAMPED batches, per partition in the order in which they were opened."""
    def take_sealed(self) -> list[Batch]:
        """Batches sealed since the last call, in the order of their sealing."""
    def view(self, entry: int) -> memoryview:
        """The batch's bytes, header and records, read-only, counted (the header means something once it is STAMPED)."""
    def view_count(self, entry: int) -> int:
        """How many views of the batch are still held."""
    def stamp(self, entry: int, producer_id: int, epoch: int, base_sequence: int, flags: int, now_ms: int) -> None:
        """SEALED -> STAMPED: numbers and finished header are in the arena before this returns, and stay as they are."""
    def dispatch(
        self, entry: int, producer_id: int, epoch: int, base_sequence: int, flags: int, now_ms: int
    ) -> memoryview:
        """``stamp`` and the first ``attempted`` at once, and a view of the batch: to be called before the first byte of
        a send."""
    def restamp(self, entry: int, producer_id: int, epoch: int, base_sequence: int, flags: int, now_ms: int) -> None:
        """New numbers for a STAMPED batch, attempts back to 0: for what is proven not in the log; no view held."""
    def attempted(self, entry: int, now_ms: int) -> None:
        """To be called before the first byte of a send: counts it, and notes the time of the first."""
    def done(self, entry: int) -> None:
        """The batch is in Kafka: booked as delivered at once; its pages are free once no view is held."""
    def fail(self, entry: int, reason: int) -> None:
        """The batch is given up for that reason (1 to 23), to be called once its records are in the dead letters."""
    def possible_duplicates(self, count: int) -> None:
        """Books ``count`` records as perhaps written twice."""
    def book(self, word: int, count: int) -> None:
        """Adds to a ledger word that no batch's own operation moves (kernel drops, unknown offsets, what was set
        aside).
        """
    def compress(self, entry: int, payload: Buffer, codec: int) -> bool:
        """Swaps a SEALED batch's records for their compressed form. False: no pages for it, it stays plain."""
    def repair(
        self,
        entry: int,
        bad_indexes: Iterable[int],
        reason: int,
        decompress: Callable[[int, bytes], bytes] | None = None,
        tell: Callable[[], object] | None = None,
    ) -> Batch:
        """Takes records out of a batch that a broker refused for them, and books those as failed for ``reason``.

        The batch is SEALED again, uncompressed. ``tell()`` is called once nothing can fail any more, and while the
        batch still is as it was. ArenaFull: no pages for it now; ValueError: all are bad, or none.
        """
    def records(self, entry: int, decompress: Callable[[int, bytes], bytes] | None = None) -> Iterator[Record]:
        """The batch's records with their senders. ``decompress(codec, payload)`` is needed for compressed batches."""
    def provenance(self, entry: int) -> list[Run]:
        """Where the batch's records came from, as runs; [] where that was found damaged."""
    def ledger(self) -> dict[str, int]:
        """The books by name; ``rejected``, ``failed``, ``dropped`` are sums, ``rejected.N`` and so on reasons that are
        not 0.
        """
    def ledger_counters(self) -> list[int]:
        """All ledger words, by position."""
    def buffered(self) -> int:
        """Records in OPEN (committed), SEALED and STAMPED batches, counted anew from the directory."""
    def adopt_sessions(self, other: Arena) -> None:
        """Copies the sessions of an arena that is only drained from now on, so that their clients can resume here.

        To be called once both are open. Sessions known here already stay as they are; when the table is full, sessions
        disconnected for longer make room.
        """
    def absorb(self, other: Arena) -> None:
        """Takes over the books and the sessions of a drained arena (ValueError if it is not), once.

        A second call for the same one adds nothing. The caller then unlinks it.
        """
    def absorbed_ids(self) -> list[bytes]:
        """Ids of the arenas whose books are in ours, oldest first; only the newest 32 are remembered."""
    def take_over(self, salvaged: Salvaged, reason: int, *, now_ms: int) -> int:
        """Goes on for an arena that is given up: its topics, sessions, cluster id and books become ours.

        The books are closed: what was still in it is dropped for ``reason``. Once: a second call for the same arena
        changes nothing. Returns how many records were dropped.
        """
    def sessions(self) -> list[Session]:
        """All sessions in the table."""
    def session_find(self, session_id: bytes) -> Session | None:
        """The session of that id, or None."""
    def session_at(self, index: int) -> Session | None:
        """The session in that row, or None."""
    def session_open(self, session_id: bytes, now_ms: int) -> Session:
        """A new, connected session; ArenaFull when no row is free: forget one first."""
    def session_close(self, index: int) -> None:
        """Ends a session. Its row is given out again once no record of it is in the arena."""
    def session_confirm(self, index: int, sequence: int) -> None:
        """The client has seen the rejections up to ``sequence``: they are forgotten."""
    def session_disconnected(self, index: int, now_ms: int) -> None:
        """The session's connection is gone since ``now_ms``; 0: it is back."""
    def session_forgettable(self, now_ms: int) -> int:
        """Row of the session longest disconnected (before ``now_ms``) with nothing in the arena when its batches were
        last walked, or -1; they are walked if there is none, unless nothing has changed since."""
