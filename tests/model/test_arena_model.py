"""Random operations on an arena against a simple model; at any moment its owner dies and a successor recovers what is
there.
"""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ingestd.hotpath.arena import Arena, ArenaFull, BatchState
from ingestd.hotpath.splitting import split
from tests.model.arena_kit import NOW_MS, Sent, balanced, encode, run_bytes, session_run, small_arena
from tests.model.build_driver import load
from tests.reference.batch_decoder import decode_batch

driver = load()


class ModelBatch:
    """What a batch should be."""

    def __init__(self, partition: int, order: float) -> None:
        self.partition = partition
        self.order = order
        self.records: list[Sent] = []  # committed
        self.sequences: list[int] = []
        self.pending: list[tuple[Sent, int]] = []
        self.state = BatchState.OPEN
        self.stamp: tuple[int, int, int] | None = None
        self.compressed = False


class ArenaMachine(RuleBasedStateMachine):
    """The arena, and beside it a dictionary of batches and a few numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.deaths = 0

    @initialize(pages=st.sampled_from([17, 40, 130]))
    def create(self, pages: int) -> None:
        """An arena small enough to be full now and then."""
        self.path = Path(self.folder.name) / "0.arena"
        self.arena = small_arena(self.path, pages=pages)
        self.row = self.arena.session_open(b"s" * 16, NOW_MS).index
        self.writer = driver.Writer(self.arena)
        self.open: dict[int, ModelBatch] = {}  # by handle
        self.batches: dict[int, ModelBatch] = {}  # sealed and stamped, by entry
        self.views: dict[int, list[tuple[memoryview, bytes]]] = {}
        self.lingering: set[int] = set()
        self.accepted = self.delivered = self.failed = self.duplicates = 0
        self.sequence = 0
        self.order = 0

    def teardown(self) -> None:
        """Lets everything go."""
        for views in getattr(self, "views", {}).values():
            for view, _ in views:
                view.release()
        self.folder.cleanup()

    # --- intake

    @rule(partition=st.integers(0, 3), needed=st.sampled_from([50, 4000, 9000, 70000]), wanted=st.integers(0, 40000))
    def open_batch(self, partition: int, needed: int, wanted: int) -> None:
        """A new batch, one per partition at most."""
        if any(batch.partition == partition for batch in self.open.values()):
            return
        handle = self.writer.open(0, partition, needed, wanted, NOW_MS)
        if handle < 0:
            return
        self.order += 1
        self.open[handle] = ModelBatch(partition, self.order)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=4))
    def write(self, data: st.DataObject, sizes: list[int]) -> None:
        """Some records into one batch; not committed."""
        handle = data.draw(st.sampled_from(sorted(self.open)))
        batch = self.open[handle]
        for size in sizes:
            record = Sent(NOW_MS + size, b"k" * (size % 7), bytes([size & 255]) * size)
            offset = len(batch.records) + len(batch.pending)
            encoded = encode([record], self._base_ms(batch, record), offset)
            self.sequence += 1 + size % 3
            back = run_bytes(session_run(self.row, self.sequence, 1))
            if len(encoded) + len(back) > self.writer.room(handle):
                return
            base_ms = self._base_ms(batch, record)
            self.writer.write(handle, encoded, 1, back, base_ms, record.timestamp_ms)
            batch.pending.append((record, self.sequence))

    @staticmethod
    def _base_ms(batch: ModelBatch, record: Sent) -> int:
        if batch.records:
            return batch.records[0].timestamp_ms
        return batch.pending[0][0].timestamp_ms if batch.pending else record.timestamp_ms

    @rule()
    def commit(self) -> None:
        """The end of a read: everything written becomes accepted at once."""
        handles = [handle for handle, batch in self.open.items() if batch.pending]
        count = sum(len(self.open[handle].pending) for handle in handles)
        self.writer.commit(handles, {0: count, 1: count}, {self.row: self.sequence})
        for handle in handles:
            batch = self.open[handle]
            batch.records += [record for record, _ in batch.pending]
            batch.sequences += [sequence for _, sequence in batch.pending]
            batch.pending = []
        self.accepted += count

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def seal(self, data: st.DataObject) -> None:
        """Commits, then seals one batch; an empty one is given up."""
        self.commit()
        handle = data.draw(st.sampled_from(sorted(self.open)))
        batch = self.open.pop(handle)
        entry = self.writer.entry(handle)
        self.writer.seal(handle)
        taken = self.arena.take_sealed()
        if batch.records:
            assert [one.entry for one in taken] == [entry]
            batch.state = BatchState.SEALED
            self.batches[entry] = batch
        else:
            assert taken == []

    # --- producer

    def _pick(self, data: st.DataObject, *states: BatchState) -> int | None:
        entries = [entry for entry, batch in self.batches.items() if batch.state in states]
        return data.draw(st.sampled_from(sorted(entries))) if entries else None

    @rule(
        data=st.data(), numbers=st.tuples(st.integers(0, 1 << 50), st.integers(0, 32767), st.integers(0, (1 << 31) - 1))
    )
    def stamp(self, data: st.DataObject, numbers: tuple[int, int, int]) -> None:
        """SEALED → STAMPED, or new numbers for a batch nobody looks at."""
        entry = self._pick(data, BatchState.SEALED, BatchState.STAMPED)
        if entry is None or self.views.get(entry):
            return
        if self.batches[entry].state == BatchState.SEALED and data.draw(st.booleans()):
            self.arena.dispatch(entry, *numbers, 0, NOW_MS).release()
        elif self.batches[entry].state == BatchState.SEALED:
            self.arena.stamp(entry, *numbers, 0, NOW_MS)
        else:
            self.arena.restamp(entry, *numbers, 0, NOW_MS)
        self.batches[entry].state = BatchState.STAMPED
        self.batches[entry].stamp = numbers

    @rule(data=st.data(), size=st.sampled_from([1, 30, 5000]))
    def compress(self, data: st.DataObject, size: int) -> None:
        """Other bytes in a run of their own; the content is told by the model from then on."""
        entry = self._pick(data, BatchState.SEALED)
        if entry is None or self.views.get(entry):
            return
        if self.arena.compress(entry, b"z" * size, 4):
            self.batches[entry].compressed = True

    @rule(data=st.data())
    def repair(self, data: st.DataObject) -> None:
        """Takes records out."""
        entry = self._pick(data, BatchState.SEALED, BatchState.STAMPED)
        if entry is None or self.views.get(entry) or self.batches[entry].compressed:
            return
        batch = self.batches[entry]
        count = len(batch.records)
        if count < 2:
            return
        bad = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=count - 1))
        try:
            self.arena.repair(entry, bad, 1)
        except ArenaFull:
            return
        batch.records = [record for index, record in enumerate(batch.records) if index not in bad]
        batch.sequences = [sequence for index, sequence in enumerate(batch.sequences) if index not in bad]
        batch.state, batch.stamp = BatchState.SEALED, None
        self.failed += len(bad)

    @rule(data=st.data(), flags=st.sampled_from([0, 1]))
    def split(self, data: st.DataObject, flags: int) -> None:
        """One batch becomes two; where it is cut, the arena says."""
        entry = self._pick(data, BatchState.SEALED, BatchState.STAMPED)
        if entry is None or self.views.get(entry) or self.batches[entry].compressed:
            return
        batch = self.batches[entry]
        if len(batch.records) < 2:
            return
        try:
            first, second = split(self.arena, entry, flags)
        except ArenaFull:
            return
        assert first.entry == entry
        assert first.created_ms == second.created_ms
        assert first.stamp_flags == second.stamp_flags == flags
        cut = first.record_count
        later = [one.order for one in (*self.batches.values(), *self.open.values()) if one.order > batch.order]
        rest = ModelBatch(batch.partition, (batch.order + min(later, default=batch.order + 1)) / 2)
        rest.records, rest.sequences = batch.records[cut:], batch.sequences[cut:]
        rest.state = BatchState.SEALED
        batch.records, batch.sequences = batch.records[:cut], batch.sequences[:cut]
        batch.state, batch.stamp = BatchState.SEALED, None
        assert second.entry not in self.batches
        self.batches[second.entry] = rest

    @rule(data=st.data())
    def look(self, data: st.DataObject) -> None:
        """A view that is held for a while."""
        entry = self._pick(data, BatchState.STAMPED)
        if entry is not None:
            view = self.arena.view(entry)
            self.views.setdefault(entry, []).append((view, bytes(view)))

    @precondition(lambda self: self.views)
    @rule(data=st.data())
    def look_away(self, data: st.DataObject) -> None:
        """One view less; its bytes have not changed."""
        entry = data.draw(st.sampled_from(sorted(self.views)))
        view, before = self.views[entry].pop()
        assert bytes(view) == before
        view.release()
        if not self.views[entry]:
            del self.views[entry]
            self.lingering.discard(entry)

    @rule(data=st.data(), delivered=st.booleans())
    def settle(self, data: st.DataObject, delivered: bool) -> None:
        """Done or failed."""
        entry = self._pick(data, BatchState.STAMPED)
        if entry is None:
            return
        batch = self.batches.pop(entry)
        if delivered:
            self.arena.done(entry)
            self.delivered += len(batch.records)
        else:
            self.arena.fail(entry, 5)
            self.failed += len(batch.records)
        if self.views.get(entry):
            self.lingering.add(entry)

    @rule()
    def die(self) -> None:
        """The owner is gone without a word; the successor finds what was committed."""
        self.deaths += 1
        successor = self.path.with_name(f"{self.deaths}.arena")
        successor.write_bytes(self.path.read_bytes())
        for views in self.views.values():
            for view, _ in views:
                view.release()
        self.views = {}
        self.lingering = set()
        for handle, batch in self.open.items():
            if batch.records:
                batch.state = BatchState.SEALED
                self.batches[self.writer.entry(handle)] = batch
        self.open = {}
        self.arena.close()
        self.path = successor
        self.arena = Arena.open(str(successor), now_ms=NOW_MS)
        self.writer = driver.Writer(self.arena)
        assert self.arena.damage == []
        session = self.arena.session_find(b"s" * 16)
        assert session is not None
        self.sequence = session.last_accepted
        expected = sorted(self.batches, key=lambda entry: (self.batches[entry].partition, self.batches[entry].order))
        assert [batch.entry for batch in self.arena.recovered()] == expected

    # --- what holds at any time

    @invariant()
    def books(self) -> None:
        """The books balance, and say what the model says."""
        if not hasattr(self, "arena"):
            return
        books = self.arena.ledger()
        assert (books["accepted"], books["delivered"], books["failed"]) == (self.accepted, self.delivered, self.failed)
        assert books["dropped"] == 0
        assert balanced(self.arena)
        live = [*self.batches.values(), *self.open.values()]
        assert self.arena.buffered() == sum(len(batch.records) for batch in live)
        gauges = (self.arena.open_batches, self.arena.sealed_batches, self.arena.stamped_batches)
        states = [batch.state for batch in live if batch.records]
        assert gauges == tuple(
            states.count(state) for state in (BatchState.OPEN, BatchState.SEALED, BatchState.STAMPED)
        )
        if not live and not self.lingering:
            assert self.arena.free_pages == self.arena.page_count

    @invariant()
    def contents(self) -> None:
        """Every batch has its records, its senders' sequences and its stamp."""
        for entry, batch in getattr(self, "batches", {}).items():
            snapshot = self.arena.batch(entry)
            assert (snapshot.partition, snapshot.record_count) == (batch.partition, len(batch.records))
            assert [one for run in self.arena.provenance(entry) for one in _sequences(run)] == batch.sequences
            if batch.compressed:
                continue
            found = [Sent(one.timestamp_ms, one.key, one.value) for one in self.arena.records(entry)]
            assert found == batch.records
            if batch.stamp:
                with self.arena.view(entry) as view:
                    decoded = decode_batch(bytes(view))
                assert (decoded.producer_id, decoded.producer_epoch, decoded.base_sequence) == batch.stamp


def _sequences(run: Any) -> list[int]:
    sequences = [run.first_sequence]
    for gap in run.gaps or bytes(run.record_count - 1):
        sequences.append(sequences[-1] + 1 + gap)
    return sequences


TestArena = ArenaMachine.TestCase
TestArena.settings = settings(stateful_step_count=60)
