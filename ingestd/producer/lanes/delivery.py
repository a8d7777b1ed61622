"""What becomes of one partition's batches: pure decisions, no I/O and no clock.

A *lane* keeps the batches of a partition in order: a queue of sealed ones, and a *window* of at most five (more where
one was split) that have numbers and no outcome. Batches leave the window only from an answer (docs/kafka.md 1 to 4):

- A success settles its batch. Where the broker had memory it also proves the batches in doubt before it (their
  offsets stay unknown), since a broker takes a batch only as a repeat or directly behind its predecessor. A broker
  without state takes any sequence, so only one batch is in flight until a success, and nothing is proven until a
  success or a refusal for order shows memory of these numbers. What was shown lapses with every sweep, when the topic
  is made anew, and when what was taken last, or anything in the window, is older than a broker is sure to remember
  (OLD_MS).
- Any other answer halts the lane until nothing of it is in flight; then ``resolve`` reads the answers as a whole and
  begins a new *sweep* from the first unsettled batch, probes those behind it, fails, repairs, splits or renumbers.

Renumbering is at epoch + 1 for this partition only; the caller restamps the batches in the arena (``renumbering``)
before anything is sent again, and calls ``resolve`` only while no view of the window's batches is exported.
"""

from typing import Any, Final

from ingestd.errors import DaemonError
from ingestd.kafka.errors import Action, error_of
from ingestd.metrics import Failed
from ingestd.producer.lanes.expiry import ExpiringLane
from ingestd.producer.lanes.item import NEVER_MS, SEQUENCE_MASK, Fail, Item, Repair, Split, Step, Suspicion, address_of
from ingestd.producer.lanes.lane import NO_QUEUE

SUSPICIONS_MAX: Final = 2
"""Sweeps refused as a whole before data loss is suspected: the first may have asked a stale leader."""
PART_ATTEMPTS_MAX: Final = 30
"""Attempts at a part of a batch that may be in the log as a whole, while nothing behind it shows that: half a minute at
most by default, and then all goes out again at risk."""
_TRIED_AGAIN: Final = frozenset({None, Action.RETRY, Action.DENIED})
_NO_ANSWER: Final = frozenset({Action.OUT_OF_ORDER, Action.REFUSED})


def _can_be_split(item: Item) -> bool:
    return error_of(item.code).too_large and item.record_count > 1


class Lane(ExpiringLane):
    """A partition's lane with the decisions about what it met."""

    __slots__ = ()

    @property
    def must_resolve(self) -> bool:
        return self.halted and not self.flying

    def resolve(self, tick_ms: int) -> list[Step]:
        """Reads the answers of this sweep as a whole; returns what is to be done now, in order.

        Call it when ``must_resolve`` and no view of the window's batches is exported; look at ``renumbering`` after it.
        """
        if not self.halted or self.flying:
            raise DaemonError("answers are read as a whole once nothing is in flight")
        self.halted = False
        self._probe = None
        steps: list[Step] = []
        if self.unresolved and not self.window:
            self._bridge()
            return steps
        action = self.window[0].action if self.window else None
        if action in _TRIED_AGAIN:
            self._sweep(tick_ms)
        elif action is Action.FENCED:
            self._renumber_at_risk(tick_ms, fresh=True)
        elif action is Action.REFUSED and not self.window[0].in_doubt:
            self._refuse(self.window[0], steps)
        else:
            self._resolve_doubt(self.window[0], tick_ms, steps)
        return steps

    def _resolve_doubt(self, head: Item, tick_ms: int, steps: list[Step]) -> None:
        """The first batch was refused, for order or, while it may be in the log, for itself."""
        if head.action is Action.OUT_OF_ORDER and self._has_parts and head.attempts >= PART_ATTEMPTS_MAX:
            self._renumber_at_risk(tick_ms, fresh=False)
            return
        witness = None if self._plain else self._witness(head)
        if head.action is Action.REFUSED and _can_be_split(head) and not (witness and self.numbers.known):
            # No proof before the broker has shown memory, which the answer to a part does.
            steps.append(Split(head, head.code, maybe=True))
        elif witness is not None:
            self._ask(witness, tick_ms, steps)
        elif head.action is not Action.REFUSED:
            if not self._ask_behind(tick_ms, steps):
                self._all_refused(tick_ms, steps)
        else:
            steps.append(self._give_up(head, Failed.MAY_HAVE_BEEN_WRITTEN, maybe=True))
            self._close_gap()

    def _witness(self, head: Item) -> Item | None:
        """The first one behind ``head`` whose being taken would prove those before it, and which has no answer yet, or
        could get another one in two parts."""
        parts = head.action is Action.OUT_OF_ORDER and self._has_parts
        before = head
        for item in self.window[1:]:
            if item.cut and item.cut == before.cut and before.action in _NO_ANSWER:
                # What follows a refused part of the same whole is refused with it, or taken ahead of it by a broker
                # without memory: neither tells of the whole.
                continue
            if item.cut and not item.attempts and not self.numbers.known:
                # No broker has it as it is, and one without memory would take it ahead of those before it.
                continue
            if item.action not in _NO_ANSWER:
                if item.in_doubt or parts:
                    return item
            elif parts and not item.in_doubt:
                # Not in the log, so nothing is taken behind it as it is.
                return item if item.action is Action.REFUSED and _can_be_split(item) else None
            before = item
        return None

    @property
    def _has_parts(self) -> bool:
        return any(item.cut or _can_be_split(item) for item in self.window)

    def _ask(self, witness: Item, tick_ms: int, steps: list[Step]) -> None:
        if witness.action is Action.REFUSED:
            steps.append(Split(witness, witness.code, maybe=witness.in_doubt))
        else:
            self._probe_with(witness, tick_ms)

    def _ask_behind(self, tick_ms: int, steps: list[Step]) -> bool:
        """The head was refused for order, and nothing is left to ask as it is. Where the limit of a batch's size was
        lowered, that is what happens to the parts of a batch that is in the log as a whole: whatever goes behind it,
        new or cut smaller, shows it by being taken. False: there is nothing to show it, or nothing to explain."""
        witness: Item | None
        if self.queue and self._mine and not self.unresolved and self._is_explained:
            witness = self._number_next()
        else:
            witness = next((one for one in self.window if one.action is Action.REFUSED and _can_be_split(one)), None)
        if witness is None:
            return False
        self._ask(witness, tick_ms, steps)
        return True

    def _number_next(self) -> Item:
        """One that waits joins the window before its turn."""
        item = self.queue.popleft()
        if not self.queue:
            self.queue = NO_QUEUE
        self.numbers.give(item)
        self.window.append(item)
        return item

    @property
    def _is_explained(self) -> bool:
        """All that was refused for order may be in the log, some of it in another cut: so it is no sign of a loss."""
        return all(item.in_doubt for item in self.window) and any(item.cut for item in self.window)

    def _refuse(self, head: Item, steps: list[Step]) -> None:
        """A definite refusal of the first batch, never in doubt."""
        if _can_be_split(head):
            steps.append(Split(head, head.code, maybe=False))
            return
        row = error_of(head.code)
        bad = tuple(dict(head.errors).items()) if row.names_records else ()
        if bad and len(bad) < head.record_count and all(0 <= index < head.record_count for index, _ in bad):
            steps.append(Repair(head, head.code, bad))
            self._repaired(head, len(bad))
            self._close_gap()
            return
        reason = Failed.MESSAGE_TOO_LARGE if row.too_large else Failed.BROKER_REFUSED
        if bad:
            reason = Failed.RECORD_REFUSED
        if head.risk:
            # these numbers are not in the log, but those before them may be
            reason = Failed.MAY_HAVE_BEEN_WRITTEN
        steps.append(self._give_up(head, reason, maybe=head.risk))
        self._close_gap()

    def _repaired(self, head: Item, bad_count: int) -> None:
        """The batch goes on without its bad records, sealed again; alone in the window it keeps its base sequence."""
        head.record_count -= bad_count
        head.stamped = False
        head.action = None
        head.tries = 0
        head.errors = ()

    def abandon(self, step: Repair) -> Fail:
        """The repair cannot be made: the batch fails as a whole, and those behind it take new numbers once more."""
        item = step.item
        item.record_count = item.batch.record_count
        item.errors = step.errors
        reason = Failed.MAY_HAVE_BEEN_WRITTEN if item.risk else Failed.RECORD_REFUSED
        fail = self._give_up(item, reason, maybe=item.risk)
        self.renumbering = [one for one in self.renumbering if one is not item]
        if not self._plain:
            self._renumber(list(self.window), fresh=False)
        return fail

    def divided(self, step: Split, first: Any, second: Any) -> None:
        """The arena holds ``step.item`` as two sealed batches, which take its place and tile its numbers.

        Where it may be in the log as a whole, no broker recognises a part of it (docs/kafka.md 1), and none takes one a
        second time: the first part is taken, or refused for order (``_ask_behind``).
        """
        whole = step.item
        self.waiting_bytes -= whole.size_bytes
        behind = whole.divided(first, second)
        self.waiting_bytes += whole.size_bytes + behind.size_bytes
        self.window.insert(self.window.index(whole) + 1, behind)
        if self._plain and step.maybe:
            whole.risk = behind.risk = True
        self._begin_sweep()
        self._restamp([whole, behind])

    def not_divided(self, step: Split) -> Fail:
        """The arena has no room for it: the batch fails as a whole, and those behind it take new numbers."""
        reason = Failed.MAY_HAVE_BEEN_WRITTEN if step.maybe or step.item.risk else Failed.MESSAGE_TOO_LARGE
        is_head = step.item is self.window[0]
        fail = self._give_up(step.item, reason, maybe=step.maybe or step.item.risk)
        if is_head or self._plain:
            self._close_gap()
        else:
            self._doubt_becomes_risk()
            self._renumber(list(self.window), fresh=False)
        return fail

    def _probe_with(self, probe: Item, tick_ms: int) -> None:
        """The head was refused, but one behind it is in doubt: its answer tells."""
        if probe.action is Action.RETRY or probe.action is Action.DENIED:
            # It has met an error meanwhile, and another broker may answer next: what the head met is void.
            self._sweep(tick_ms)
            return
        if probe.action is Action.FENCED:
            # The numbers are void for all of the window, so no answer can tell any more.
            self._renumber_at_risk(tick_ms, fresh=True)
            return
        self._probe = probe
        self.cursor = 0

    def _all_refused(self, tick_ms: int, steps: list[Step]) -> None:
        """Nothing that may be in the log is recognised by the broker."""
        if self.unresolved:
            # What they follow was given up, and is not there: a gap of our own making.
            self._renumber_at_risk(tick_ms, fresh=False)
            return
        self._suspicions += 1
        if self._suspicions < SUSPICIONS_MAX or self._is_explained:
            self.wants_refresh = True
            self._sweep(tick_ms)
            return
        self._suspicions = 0
        text = (
            f"{address_of(self.window)} all refused as out of order, last acknowledged offset {self.last_offset},"
            f" the log begins at {self.log_start_offset}"
        )
        benign = 0 <= self.last_offset < self.log_start_offset
        self.last_offset = -1
        self._renumber_at_risk(tick_ms, fresh=False)
        steps.append(Suspicion(tuple(self.window), text, benign))

    def _sweep(self, tick_ms: int) -> None:
        """Once more from the first unsettled batch, after a pause."""
        if not self.window:
            self.cursor = 0
            return
        if self.window[0].action is not None:
            self._back_off(tick_ms)
        self._begin_sweep()

    def _back_off(self, tick_ms: int) -> None:
        self.failures += 1
        self.retry_at_ms = tick_ms + self._backoff(self.failures)
        if self.window and self.window[0].action is Action.DENIED:
            self.denied_pause_ms = self.retry_at_ms

    # -- gaps

    def _close_gap(self) -> None:
        """The first batch is gone for good, or shorter: those behind it cannot be in the log, and take new numbers."""
        window = self.window
        if self._plain:
            self.cursor = 0
            self.renumbering = [item for item in window if not item.stamped]
            return
        if len(window) == 1 and not window[0].stamped:
            numbers = self.numbers
            # Repaired, and nothing was sent behind it: the refused numbers were not consumed (docs/kafka.md 6).
            numbers.next_sequence = (window[0].sequence + window[0].record_count) & SEQUENCE_MASK
            self.renumbering = [window[0]]
            self.cursor = 0
            return
        hidden = False
        for item in reversed(window):
            # In doubt, and refused for itself, or in another cut than it may have in the log, or behind a success that
            # proved nothing: what is behind the one that failed may be there with it.
            unknown = item.action is Action.REFUSED or item.cut or item.overtaken
            hidden = hidden or bool(item.in_doubt and unknown)
            item.risk = item.risk or (item.in_doubt and hidden)
            # Under numbers that a broker may know nothing of, none of them may go ahead to tell of those before it.
            item.in_doubt = False
        self._renumber(list(window), fresh=False)

    def _renumber_at_risk(self, tick_ms: int, *, fresh: bool) -> None:
        self._back_off(tick_ms)
        self._doubt_becomes_risk()
        self._renumber(list(self.window), fresh=fresh)

    def _doubt_becomes_risk(self) -> None:
        """The window leaves its numbers behind: what may be in the log under them may then be there twice."""
        for item in self.window:
            item.risk = item.risk or item.in_doubt
            item.in_doubt = False

    def _bridge(self) -> None:
        """Nothing is left that could show whether the broker has what was given up: the numbers begin anew, which also
        fences what may still be on its way."""
        self.cursor = 0
        self._oldest_ms = NEVER_MS
        self._renumber([], fresh=False)
