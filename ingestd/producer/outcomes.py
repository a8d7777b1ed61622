"""Carrying out what was decided about batches: the arena, the senders' answers, the dead letters, the books."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from ingestd.figures import Count
from ingestd.hotpath.errors import ArenaFull
from ingestd.hotpath.splitting import split
from ingestd.kafka.errors import error_of
from ingestd.log import counted
from ingestd.metrics import Failed, Ledger
from ingestd.producer.common import Clock, log
from ingestd.producer.compression import Codec, compress_batch, decompress, default_codec
from ingestd.producer.dead_letters import DeadLetters, Letter
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import (
    FLAG_CUT,
    FLAG_ELSEWHERE,
    FLAG_RISK,
    Fail,
    Item,
    Repair,
    Split,
    Step,
    Suspicion,
    address_of,
)
from ingestd.producer.meter import Meter

OFFSET_UNKNOWN: Final = -1
SLICE_MS: Final = 20
"""So long batches are given up or made anew at a time, then others have the event loop for as long: both take Python
for every record, and an arena of them seconds."""
ROOM_WAIT_MS: Final = 1000
"""Pause before repairing a batch again that had no pages for it."""
REPAIRS_MAX: Final = 60
"""Attempts to repair a batch, a second apart, before it fails as a whole: its partition must not stand still."""


class DeliveryEvents(Protocol):
    """Who is told about outcomes, always before the batch leaves the arena. ``batch``: ``hotpath.snapshots.Batch``."""

    def on_delivered(self, arena: Any, batch: Any, base_offset: int, log_append_time_ms: int) -> None:
        """``base_offset`` -1: proven by a later answer. ``log_append_time_ms`` -1: the records' own time."""

    def on_failed(
        self, arena: Any, batch: Any, reason: int, error_code: int, may_have_been_written: bool, text: str
    ) -> None:
        """The whole batch is given up, for ``metrics.Failed`` ``reason``."""

    def on_records_failed(
        self, arena: Any, batch: Any, texts: dict[int, str], reason: int, error_code: int, may_have_been_written: bool
    ) -> None:
        """The records at the indexes in ``texts`` are refused; the others of the batch go on, with other indexes."""

    def on_split(self, arena: Any, batch: Any, second: Any) -> None:
        """Half of the records of ``batch`` are in ``second`` from now on: whoever waits for one waits for both."""

    def on_freed(self) -> None:
        """Pages came back: whoever waits for room may try again."""


class Outcomes:
    """Ends batches and applies the steps of a lane. ``shrink(lane, arena, bytes)``: the next batches of its topic shall
    not be larger. ``codec_of(lane, otherwise)``: what other bytes for its batches are compressed with.
    """

    def __init__(
        self,
        events: DeliveryEvents,
        letters: DeadLetters,
        clock: Clock,
        meter: Meter,
        shrink: Callable[[Lane, Any, int], None],
        codec_of: Callable[[Lane, Codec], Codec],
        on_data_loss: Callable[[str], object] | None = None,
    ) -> None:
        self._events = events
        self._letters = letters
        self._clock = clock
        self._meter = meter
        self._shrink = shrink
        self._codec_of = codec_of
        self._on_data_loss = on_data_loss
        self._repairs: dict[Item, int] = {}
        """Attempts so far at those that found no room."""
        self._delivered: list[tuple[Lane, Item, bool]] = []
        """Not among the figures yet."""
        self._slice_tick_ms = -SLICE_MS
        """When the present slice of the event loop's time began, or the last one."""

    def deliver(self, lane: Lane, item: Item, base_offset: int, log_append_time_ms: int) -> None:
        """``item`` of ``lane`` is in the log. ``count`` is to be called behind the last one of an answer."""
        arena = item.arena
        batch = item.batch
        self._events.on_delivered(arena, batch, base_offset, log_append_time_ms)
        if item.risk:
            arena.possible_duplicates(item.record_count)
        proven = base_offset == OFFSET_UNKNOWN
        if proven:
            arena.book(int(Ledger.DELIVERED_UNCONFIRMED_OFFSETS), item.record_count)
        self._delivered.append((lane, item, proven))
        arena.done(batch.entry)

    def count(self, now_ms: int, tick_ms: int) -> None:
        """What was delivered since the last call enters the figures."""
        if self._delivered:
            self._meter.delivered(self._delivered, now_ms, tick_ms)
            self._delivered.clear()

    def regressed(self, lane: Lane) -> None:
        """Offsets came back that lie below one acknowledged before: the log was cut there."""
        texts = lane.regressions[:]
        lane.regressions.clear()
        for text in texts:
            self._lost(f"{lane.topic.name}-{lane.partition}: data loss suspected: {text}")

    def _lost(self, text: str) -> None:
        self._meter.add(Count.DATA_LOSS_SUSPECTED)
        log.error("%s", text)
        if self._on_data_loss is not None:
            self._on_data_loss(text)

    def apply(self, lane: Lane, steps: list[Step]) -> int:
        """Carries ``steps`` out in order, taking them off the list. Returns after how many ms the rest must be tried
        again; 0: there is none."""
        while steps:
            if self._slice_is_over():
                return SLICE_MS
            step = steps[0]
            if isinstance(step, Fail):
                self._fail(lane, step)
            elif isinstance(step, Suspicion):
                self._suspect(lane, step)
            elif not self._remake(lane, step):
                return ROOM_WAIT_MS
            del steps[0]
        return 0

    def _slice_is_over(self) -> bool:
        tick_ms = self._clock.tick_ms()
        if tick_ms - self._slice_tick_ms >= 2 * SLICE_MS:
            self._slice_tick_ms = tick_ms
        return tick_ms - self._slice_tick_ms >= SLICE_MS

    def _remake(self, lane: Lane, step: Repair | Split) -> bool:
        """Other bytes for a batch, or its end where there has been no room for them for long. False: not yet."""
        item = step.item
        try:
            if isinstance(step, Repair):
                self._repair(lane, step)
            else:
                self._split(lane, step)
        except ArenaFull:
            self._repairs[item] = self._repairs.get(item, 0) + 1
            if self._repairs[item] < REPAIRS_MAX:
                return False
            self._fail(lane, lane.abandon(step) if isinstance(step, Repair) else lane.not_divided(step))
        self._repairs.pop(item, None)
        return True

    def _letter(self, lane: Lane, item: Item, reason: int, code: int, maybe: bool) -> Letter:
        # asked anew: the snapshot of the sealing knows nothing of the sends
        batch = item.arena.batch(item.batch.entry)
        return Letter(
            lane.topic.name,
            lane.partition,
            Failed(reason).name.lower(),
            code,
            maybe,
            batch.created_ms,
            batch.first_send_ms,
            item.attempts,
        )

    def _fail(self, lane: Lane, step: Fail) -> None:
        item = step.item
        arena = item.arena
        name = error_of(step.code).name if step.code else "no answer of Kafka involved"
        log.error(
            "%s-%d: %s given up%s: %s, %s%s",
            lane.topic.name,
            lane.partition,
            counted(item.record_count, "record"),
            f" ({address_of((item,))})" if step.maybe else "",
            Failed(step.reason).name.lower(),
            name,
            f" ({step.text!r})" if step.text else "",
        )
        letter = self._letter(lane, item, step.reason, step.code, step.maybe)
        records = arena.records(item.batch.entry, decompress)
        self._letters.write(letter, records, dict(item.errors), step.text, self._clock.now_ms())
        self._events.on_failed(arena, item.batch, step.reason, step.code, step.maybe, step.text)
        self._meter.failed(lane.topic.name, item)
        arena.fail(item.batch.entry, step.reason)

    def _repair(self, lane: Lane, step: Repair) -> None:
        item = step.item
        arena = item.arena
        old = item.batch
        # these numbers are not in the log, but those before them may be
        reason = int(Failed.MAY_HAVE_BEEN_WRITTEN if item.risk else Failed.RECORD_REFUSED)
        texts = dict(step.errors)

        def tell() -> None:
            self._tell_refused(lane, step, texts, reason)

        batch = arena.repair(old.entry, list(texts), reason, decompress, tell)
        batch = compress_batch(arena, batch, self._codec_of(lane, default_codec(old.codec)))
        self._meter.refused(lane.topic.name, len(texts), item.size_bytes - batch.size_bytes)
        lane.waiting_bytes += batch.size_bytes - item.size_bytes
        item.size_bytes = batch.size_bytes
        item.batch = batch

    def _split(self, lane: Lane, step: Split) -> None:
        """Two batches in the place of one; both may be refused and split again."""
        item = step.item
        arena = item.arena
        old = item.batch
        numbered = item.sequence >= 0
        flags = item.flags & (FLAG_ELSEWHERE | FLAG_CUT) | (FLAG_CUT if step.maybe and numbered else 0)
        flags |= FLAG_RISK if item.risk or (step.maybe and not numbered) else 0
        first, second = split(arena, old.entry, flags, decompress)
        self._events.on_split(arena, first, second)
        log.info(
            "%s-%d: %d records in %d bytes are too large for the broker (%s): sent as two batches",
            lane.topic.name,
            lane.partition,
            old.record_count,
            old.size_bytes,
            error_of(step.code).name,
        )
        self._meter.add(Count.BATCHES_SPLIT)
        self._shrink(lane, arena, max(first.size_bytes, second.size_bytes))
        codec = self._codec_of(lane, default_codec(old.codec))
        lane.divided(step, *(compress_batch(arena, half, codec) for half in (first, second)))

    def _tell_refused(self, lane: Lane, step: Repair, texts: dict[int, str], reason: int) -> None:
        item = step.item
        arena = item.arena
        log.error(
            "%s-%d: %d of %s refused: %s",
            lane.topic.name,
            lane.partition,
            len(texts),
            counted(item.batch.record_count, "record"),
            error_of(step.code).name,
        )
        letter = self._letter(lane, item, reason, step.code, item.risk)
        bad = (record for record in arena.records(item.batch.entry, decompress) if record.index in texts)
        self._letters.write(letter, bad, texts, "", self._clock.now_ms())
        self._events.on_records_failed(arena, item.batch, texts, reason, step.code, item.risk)

    def _suspect(self, lane: Lane, step: Suspicion) -> None:
        where = f"{lane.topic.name}-{lane.partition}"
        twice = sum(item.record_count for item in step.items if item.risk)
        end = f"{step.text}; sent again under new numbers, {counted(twice, 'record')} may be there twice"
        if step.benign:
            log.warning("%s: the log lost what was acknowledged to retention or to a deletion: %s", where, end)
        else:
            self._lost(f"{where}: data loss suspected: {end}")


def write_numbers(items: Sequence[Item], now_ms: int) -> bool:
    """Persists new numbers, before anything is sent under them. False: a view is still held, try again later."""
    if any(item.arena.view_count(item.batch.entry) for item in items):
        return False
    for item in items:
        put = item.arena.restamp if item.stamped else item.arena.stamp
        put(item.batch.entry, item.producer_id, item.epoch, item.sequence, item.flags, now_ms)
        item.stamped = True
    return True
