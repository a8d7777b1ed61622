"""A batch on its way out, the numbers a partition writes under, and the decisions taken about them."""

import itertools
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ingestd.kafka.errors import Action

SEQUENCE_MASK: Final = 0x7FFFFFFF
EPOCH_MAX: Final = 32767
STATE_STAMPED: Final = 3
"""As in ``hotpath.snapshots.BatchState``."""
FLAG_RISK: Final = 1
"""Stamp flag: this batch is being written under new numbers though it may be in the log under older ones."""
FLAG_ELSEWHERE: Final = 2
"""Stamp flag: the numbers are of another cluster than the one that the arena's header names."""
FLAG_RISK_BEHIND: Final = 4
"""Stamp flag: written in one go with batches behind it of which some carry FLAG_RISK. Where a crash has cut that, those
not reached had the same risk coming."""
FLAG_CUT: Final = 8
"""Stamp flag: a part of a batch that may be in the log as a whole, under the numbers that the part had there."""
NEVER_MS: Final = 1 << 62
_wholes: Final = itertools.count(1)


class Item:
    """One batch between sealing and its outcome. Its bytes stay in the arena; ``arena`` and ``batch`` are handles."""

    __slots__ = (
        "action",
        "arena",
        "attempts",
        "batch",
        "code",
        "cut",
        "elsewhere",
        "epoch",
        "errors",
        "first_tick_ms",
        "flying",
        "in_doubt",
        "oldest_ms",
        "outdated",
        "overtaken",
        "producer_id",
        "record_count",
        "recovered",
        "risk",
        "risk_behind",
        "sealed_tick_ms",
        "sequence",
        "settled",
        "size_bytes",
        "stamped",
        "text",
        "tries",
    )

    def __init__(self, arena: Any, batch: Any, sealed_tick_ms: int, elsewhere: bool = False) -> None:
        self.arena = arena
        self.elsewhere = elsewhere
        """It is sent to another cluster than the one that the arena's header names."""
        self.batch = batch
        self.record_count: int = batch.record_count
        self.size_bytes: int = batch.size_bytes
        self.sealed_tick_ms = sealed_tick_ms
        self.producer_id = -1
        self.epoch = -1
        self.sequence = -1
        self.stamped = False
        self.attempts = 0
        self.first_tick_ms = 0
        """Monotonic time of the first attempt of this process; 0: none yet."""
        self.recovered = False
        """A dead process had sent it, and nobody knows what became of that."""
        self.oldest_ms: int = batch.max_timestamp_ms
        """The earlier of max timestamp and first send: what the broker's memory of it is measured against."""
        self.in_doubt = False
        """Some attempt may have put it into the log and has not said so."""
        self.cut = 0
        """As FLAG_CUT: in doubt even where it was never sent by itself, and not recognised as a repeat. Parts of one
        whole that can be in the log only together have the same number; 0: it is none."""
        self.risk = False
        """If it is delivered now, it may be there twice."""
        self.risk_behind = False
        """As FLAG_RISK_BEHIND."""
        self.outdated = False
        """In flight to an earlier incarnation of its topic: the answer says nothing about this one."""
        self.overtaken = False
        """One behind it was taken without proof of this one, so no later success proves it."""
        self.flying = False
        self.settled = False
        self.action: Action | None = None
        """What the last answer in this sweep asks for; None: no answer yet."""
        self.code = 0
        self.text = ""
        self.errors: tuple[tuple[int, str], ...] = ()
        self.tries = 0
        """Answers in a row of the kind that is retried only a few times."""

    def numbered(self, producer_id: int, epoch: int, sequence: int) -> None:
        self.producer_id = producer_id
        self.epoch = epoch
        self.sequence = sequence

    def may_be_written(self) -> None:
        """An attempt may have put it into the log."""
        self.in_doubt = True
        if self.cut:
            self.cut = next(_wholes)

    def divided(self, first: Any, second: Any) -> "Item":
        """Becomes the batch ``first``; returns an item for ``second``, numbered behind it, which is as old as this one
        and shares its doubts. Neither has been tried yet.
        """
        if self.in_doubt and self.sequence >= 0 and not self.cut:
            self.cut = next(_wholes)
        behind = Item(self.arena, second, self.sealed_tick_ms, self.elsewhere)
        behind.oldest_ms, behind.first_tick_ms = self.oldest_ms, self.first_tick_ms
        behind.in_doubt, behind.risk, behind.overtaken = self.in_doubt, self.risk, self.overtaken
        behind.cut = self.cut
        after = -1 if self.sequence < 0 else (self.sequence + first.record_count) & SEQUENCE_MASK
        behind.numbered(self.producer_id, self.epoch, after)
        self.batch = first
        self.record_count, self.size_bytes = first.record_count, first.size_bytes
        self.stamped = False
        self.attempts = self.tries = self.code = 0
        self.action, self.errors, self.text = None, (), ""
        return behind

    def append_time_ms(self, answered_ms: int) -> int:
        """When the log appended it; -1: the topic keeps the records' own times. ``answered_ms``: what the broker said.

        A repeat is answered with the stored batch's timestamp (docs/kafka.md 1), which is its latest record's where the
        records keep theirs.
        """
        return -1 if self.attempts > 1 and answered_ms == self.batch.max_timestamp_ms else answered_ms

    @property
    def is_numbered(self) -> bool:
        """It has been stamped, or has kept numbers since."""
        return self.stamped or self.sequence >= 0

    @property
    def flags(self) -> int:
        return (
            (FLAG_RISK if self.risk else 0)
            | (FLAG_ELSEWHERE if self.elsewhere else 0)
            | (FLAG_RISK_BEHIND if self.risk_behind else 0)
            | (FLAG_CUT if self.cut else 0)
        )


def recovered_item(arena: Any, batch: Any, tick_ms: int) -> Item:
    """An item of a batch that a dead process left; a STAMPED one keeps its numbers and, once attempted, is in doubt.

    So does one that is SEALED once more, split or repaired, of which the arena has the numbers of the whole.
    """
    item = Item(arena, batch, tick_ms)
    # Also of one that is only sealed: its death may have come between a split and the new numbers.
    item.risk = bool(batch.stamp_flags & FLAG_RISK)
    item.stamped = batch.state == STATE_STAMPED
    if item.stamped or batch.producer_id >= 0:
        item.numbered(batch.producer_id, batch.producer_epoch, batch.base_sequence)
        item.attempts = batch.attempts
        item.cut = next(_wholes) if batch.stamp_flags & FLAG_CUT else 0
        item.in_doubt = item.recovered = batch.attempts > 0 or item.cut > 0
        item.elsewhere = bool(batch.stamp_flags & FLAG_ELSEWHERE)
        item.risk_behind = bool(batch.stamp_flags & FLAG_RISK_BEHIND)
        if batch.first_send_ms:
            item.oldest_ms = min(item.oldest_ms, batch.first_send_ms)
    return item


def address_of(items: Sequence[Item]) -> str:
    """Where to look for batches in the log, for people: consecutive ones under one producer id and epoch."""
    first, last = items[0], items[-1]
    if first.sequence < 0:
        return "batches without a producer id"
    end = (last.sequence + last.record_count - 1) & SEQUENCE_MASK
    return f"producer id {first.producer_id} epoch {first.epoch} sequences {first.sequence}..{end}"


class Numbers:
    """A (producer id, epoch) on one partition, and what is known of the broker's memory of it."""

    __slots__ = ("confirmed", "epoch", "known", "next_sequence", "producer_id", "seen_ms")

    def __init__(self, producer_id: int, epoch: int, next_sequence: int = 0) -> None:
        self.producer_id = producer_id
        self.epoch = epoch
        self.next_sequence = next_sequence
        self.confirmed = False
        """A success was seen: batches may be pipelined."""
        self.known = False
        """A success or a refusal for order was seen: the broker has memory, so a success proves those before it."""
        self.seen_ms = NEVER_MS
        """How old the broker's memory may be, if it ends before the window: ``Item.oldest_ms`` of the last success."""

    def lapse(self) -> None:
        """The broker may have lost its memory: only its next answer tells."""
        self.confirmed = self.known = False

    def give(self, item: Item) -> None:
        item.numbered(self.producer_id, self.epoch, self.next_sequence)
        if self.producer_id >= 0:
            self.next_sequence = (self.next_sequence + item.record_count) & SEQUENCE_MASK


class Fail(NamedTuple):
    """``item`` is given up. ``maybe``: it may have been written."""

    item: Item
    reason: int
    code: int
    maybe: bool
    text: str


class Repair(NamedTuple):
    """The records at ``indexes`` of ``item`` are refused, each with its text; the rest goes on."""

    item: Item
    code: int
    errors: tuple[tuple[int, str], ...]


class Split(NamedTuple):
    """``item`` is too large for the broker: its records go on as two batches. ``maybe``: it may be in the log."""

    item: Item
    code: int
    maybe: bool


class Suspicion(NamedTuple):
    """The broker's answers do not fit what it has acknowledged: data loss suspected. ``items`` go out again.

    ``benign``: the log begins behind what was acknowledged, so retention, or whoever deletes records, took it.
    """

    items: tuple[Item, ...]
    text: str
    benign: bool


Step = Fail | Repair | Split | Suspicion
