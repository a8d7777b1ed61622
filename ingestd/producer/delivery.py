"""What becomes of one partition's batches: pure decisions, no I/O and no clock.

A *lane* keeps the batches of a partition in order: a queue of sealed ones, and a *window* of at most five that have
numbers and no outcome. Batches leave the window only from an answer (contract 6.2, 7.3; broker-facts 2, 3, 9):

- A success settles its batch. Where the broker had memory it also proves the batches in doubt before it (their
  offsets stay unknown), since a broker takes a batch only as a repeat or directly behind its predecessor. A broker
  without state takes any sequence, so nothing is proven, and only one batch is in flight, until the first success under
  these numbers and while anything in the window is older than a broker is sure to remember (OLD_MS).
- Any other answer halts the lane until nothing of it is in flight; then ``resolve`` reads the answers as a whole and
  begins a new *sweep* from the first unsettled batch, probes those behind it, fails, repairs or renumbers.

Renumbering is at epoch + 1 for this partition only; the caller restamps the batches in the arena (``renumbering``)
before anything is sent again, and calls ``resolve`` only while no view of the window's batches is exported.
"""

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final

from ingestd.errors import DaemonError
from ingestd.kafka import errors as codes
from ingestd.kafka.errors import Action, Effect, error_of
from ingestd.limits import BATCHES_IN_DOUBT_MAX
from ingestd.metrics import Failed
from ingestd.producer.item import EPOCH_MAX, SEQUENCE_MASK, Fail, Item, Numbers, Repair, Step, Suspicion

OLD_MS: Final = 23 * 3600 * 1000
"""A broker forgets a producer after producer.id.expiration.ms (24 h by default): an hour less is sure."""
TRIES_MAX: Final = 5
"""Answers in a row of a kind that may pass, before they count as a refusal."""
SUSPICIONS_MAX: Final = 2
"""Sweeps refused as a whole before data loss is suspected: the first may have asked a stale leader."""
DENIED_BACKOFF_FAILURES: Final = 6
_RECORD_CODES: Final = frozenset({codes.INVALID_RECORD, codes.INVALID_TIMESTAMP})
_TOO_LARGE: Final = frozenset({codes.MESSAGE_TOO_LARGE, 18})
_NO_ANSWER: Final = frozenset({Action.OUT_OF_ORDER, Action.REFUSED})
_NEVER: Final = 1 << 62


class Want(Enum):
    """Which producer id a lane waits for."""

    NOTHING = "nothing"
    SHARED = "shared"
    """This process's."""
    FRESH = "fresh"
    """One that nobody has used."""


class Lane:
    """One partition. ``backoff(failures)`` gives a delay in ms; ``idempotent`` False: no numbers, no proofs."""

    __slots__ = (
        "_backoff",
        "_mine",
        "_numbers",
        "_oldest_ms",
        "_plain",
        "_probe",
        "_retries_max",
        "_runs",
        "_suspicions",
        "_unnumbered",
        "carrier",
        "cursor",
        "denied_code",
        "denied_last_ms",
        "denied_since_ms",
        "failures",
        "flying",
        "halted",
        "held",
        "last_offset",
        "offsets_of",
        "own",
        "partition",
        "queue",
        "queued",
        "regressions",
        "renumbering",
        "retry_at_ms",
        "route",
        "topic",
        "waiting_bytes",
        "wants_identity",
        "wants_refresh",
        "window",
    )

    def __init__(
        self,
        topic: Any,
        partition: int,
        backoff: Callable[[int], int],
        *,
        idempotent: bool = True,
        retries_max: int = SEQUENCE_MASK,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.route: Any = None
        """The caller's: where this lane's batches go; ``carrier``: what carries those in flight; ``queued``: waits for
        its turn there; ``held``: must not be sent."""
        self.carrier: Any = None
        self.queued = False
        self.held = False
        self.queue: deque[Item] = deque()
        self.window: list[Item] = []
        self.cursor = 0
        """Index in the window of the next batch of this sweep; at its end new ones are stamped."""
        self.flying = 0
        self.halted = False
        self.renumbering: list[Item] = []
        """Batches whose new numbers the arena must have before anything is sent."""
        self.wants_identity = Want.NOTHING
        self.wants_refresh = False
        self.retry_at_ms = 0
        """Monotonic; 0: at once."""
        self.failures = 0
        self.waiting_bytes = 0
        self.denied_since_ms = -1
        """Monotonic time of the first and the last answer in a row that denied the topic; -1: the last did not."""
        self.denied_last_ms = -1
        self.denied_code = 0
        self.last_offset = -1
        self.offsets_of: Any = None
        """The caller's: the incarnation of the topic that ``last_offset`` belongs to."""
        self.regressions = 0
        """Times an acknowledged offset lay below one acknowledged before: the log was cut."""
        self.own: Numbers | None = None if idempotent else Numbers(-1, -1, -1)
        """This process's numbers here; recovered batches go out under theirs first."""
        self._numbers: Numbers | None = None
        self._mine = False
        """The window is under this process's own numbers."""
        self._plain = not idempotent
        self._retries_max = retries_max
        self._backoff = backoff
        self._runs: deque[tuple[list[Item], Numbers, list[Item]]] = deque()
        self._unnumbered: list[Item] = []
        self._probe: Item | None = None
        self._suspicions = 0
        self._oldest_ms = _NEVER

    # -- what comes in

    def enqueue(self, item: Item) -> None:
        """A sealed batch, behind all others."""
        self.queue.append(item)
        self.waiting_bytes += item.size_bytes

    def add_run(self, items: list[Item], numbers: Numbers, renumbered: list[Item]) -> None:
        """Batches a dead process had stamped, under one (producer id, epoch); they go before anything new.

        ``renumbered``: those among them whose numbers here differ from what the arena holds.
        """
        self._runs.append((items, numbers, renumbered))
        self.waiting_bytes += sum(item.size_bytes for item in items)

    def identity(self, producer_id: int, epoch: int) -> None:
        """A producer id of this process: what the lane had asked for with ``wants_identity``, or its first."""
        fresh, self.wants_identity = self.wants_identity is Want.FRESH, Want.NOTHING
        if fresh:
            if self.own is None:
                self._mine = True
            self._assign(Numbers(producer_id, epoch))
        elif self.own is None:
            self.own = Numbers(producer_id, epoch)

    # -- what goes out

    def take(self, now_ms: int, tick_ms: int) -> Item | None:
        """The next batch to send, or None. An unstamped one has got its numbers: stamp it before sending.

        The caller must send it, and then call ``succeeded`` or ``failed`` exactly once.
        """
        if self.halted or self.renumbering or tick_ms < self.retry_at_ms or self.wants_identity is Want.FRESH:
            return None
        window = self.window
        if self.cursor < len(window) or self._probe is not None:
            return self._take_again(now_ms)
        if not window and self._runs:
            self._begin_run()
            return None if self.renumbering else self._take_again(now_ms)
        queue = self.queue
        if not queue:
            return None
        if not window and not self._mine:
            if self.own is None:
                self.wants_identity = Want.SHARED
                return None
            self._numbers = self.own
            self._mine = True
        numbers = self.numbers
        item = queue[0]
        oldest_ms = item.oldest_ms if item.oldest_ms < self._oldest_ms else self._oldest_ms
        if window and (
            not numbers.confirmed
            or len(window) >= BATCHES_IN_DOUBT_MAX
            or (oldest_ms < now_ms - OLD_MS and not self._plain)
            or not self._mine
        ):
            return None
        queue.popleft()
        self._oldest_ms = oldest_ms
        if not self._plain:
            numbers.give(item)
        window.append(item)
        self.cursor = len(window)
        self._fly(item, now_ms)
        return item

    def _take_again(self, now_ms: int) -> Item | None:
        """The next batch of a sweep over what has numbers already."""
        numbers = self.numbers
        if self._probe is not None:
            if self.flying:
                return None
            item = self._probe
        else:
            item = self.window[self.cursor]
            one_at_a_time = not numbers.confirmed or self._is_old(now_ms)
            if self.flying and (one_at_a_time or item.action is Action.REFUSED):
                return None
            self.cursor += 1
        if item.in_doubt and (self._plain or item.oldest_ms < now_ms - OLD_MS):
            item.risk = True
        self._fly(item, now_ms)
        return item

    def _fly(self, item: Item, now_ms: int) -> None:
        item.flying = True
        item.action = None
        item.attempts += 1
        if now_ms < item.oldest_ms:
            item.oldest_ms = now_ms
        self.flying += 1

    def _is_old(self, now_ms: int) -> bool:
        if self._plain:
            return False
        horizon_ms = now_ms - OLD_MS
        if self._oldest_ms >= horizon_ms:
            return False
        self._oldest_ms = min((item.oldest_ms for item in self.window), default=_NEVER)
        return self._oldest_ms < horizon_ms

    def _begin_run(self) -> None:
        items, numbers, renumbered = self._runs.popleft()
        self.window[:] = items
        self._numbers = numbers
        self._mine = False
        self.cursor = 0
        self._oldest_ms = min(item.oldest_ms for item in items)
        self.renumbering = list(renumbered)
        if numbers.epoch > EPOCH_MAX:
            self._renumber(list(items), fresh=True)

    @property
    def numbers(self) -> Numbers:
        """What the window's batches are numbered under."""
        if self._numbers is None:
            raise DaemonError("no batch has numbers here")
        return self._numbers

    @property
    def next_bytes(self) -> int:
        """Size of the batch that ``take`` would look at next; 0: none."""
        if self._probe is not None:
            return self._probe.size_bytes
        if self.cursor < len(self.window):
            return self.window[self.cursor].size_bytes
        return self.queue[0].size_bytes if self.queue else 0

    @property
    def may_send(self) -> bool:
        """``take`` may have something; what is in flight does not count."""
        return bool(self.queue or self.cursor < len(self.window) or self._probe or self._runs)

    @property
    def has_work(self) -> bool:
        """Something waits here, sent or not."""
        return bool(self.window or self.queue or self._runs)

    # -- what comes back

    def succeeded(self, item: Item, base_offset: int, now_ms: int) -> Sequence[Item]:
        """The broker acknowledged ``item``. Returns what is settled by that, in order: those proven, then itself."""
        self.flying -= 1
        item.flying = False
        if item.settled:
            return ()
        self.failures = self._suspicions = 0
        self.retry_at_ms = 0
        self.denied_since_ms = -1
        if base_offset >= 0:
            if base_offset <= self.last_offset:
                self.regressions += 1
            self.last_offset = base_offset
        window = self.window
        numbers = self.numbers
        if window[0] is item:
            numbers.confirmed = numbers.known = True
            del window[0]
            self.cursor -= 1
            self._settle(item)
            if not window:
                self._oldest_ms = _NEVER
            return (item,)
        return self._succeeded_behind(item, numbers, now_ms)

    def _succeeded_behind(self, item: Item, numbers: Numbers, now_ms: int) -> Sequence[Item]:
        """A success of a batch behind unsettled ones: proof of those in doubt, if the broker had memory of them."""
        self._probe = None
        window = self.window
        at = window.index(item)
        proves = numbers.known and not self._plain and not self._is_old(now_ms)
        settled = [before for before in window[:at] if proves and before.in_doubt]
        settled.append(item)
        for one in settled:
            window.remove(one)
            self._settle(one)
        numbers.confirmed = numbers.known = True
        for later in window[at + 1 - len(settled) :]:
            # refused for order before this success: that refusal says nothing any more
            later.action = None if later.action is Action.OUT_OF_ORDER else later.action
        self.cursor = len(window)
        self.halted = bool(window)
        if not window:
            self._oldest_ms = _NEVER
        return settled

    def _settle(self, item: Item) -> None:
        item.settled = True
        self.waiting_bytes -= item.size_bytes

    def failed(
        self, item: Item, code: int, tick_ms: int, errors: tuple[tuple[int, str], ...] = (), text: str = ""
    ) -> None:
        """The request with ``item`` met ``code`` (NETWORK_EXCEPTION: no answer will come)."""
        self.flying -= 1
        item.flying = False
        if item.settled:
            return
        row = error_of(code)
        action = row.action
        if row.effect is not Effect.NOT_WRITTEN:
            item.in_doubt = True
        if action is Action.RETRY_FEW:
            item.tries += 1
            action = Action.REFUSED if item.tries > TRIES_MAX else Action.RETRY
        elif action is Action.OUT_OF_ORDER and not self._plain:
            self.numbers.known = True
        if action is Action.RETRY and item.attempts > self._retries_max:
            action = Action.REFUSED
        if action is Action.DENIED:
            if self.denied_since_ms < 0:
                self.denied_since_ms = tick_ms
            self.denied_last_ms = tick_ms
            self.denied_code = code
        elif code != codes.NETWORK_EXCEPTION:
            self.denied_since_ms = -1
        item.action = action
        item.code = code
        item.errors = errors
        item.text = text
        self.wants_refresh = self.wants_refresh or row.refresh
        self.halted = True

    # -- what is decided

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
        gap = False
        while self.window:
            head = self.window[0]
            action = head.action
            if gap or action is None or action is Action.RETRY or action is Action.DENIED:
                break
            if action is Action.FENCED:
                self._renumber_at_risk(fresh=True)
                return steps
            if action is Action.REFUSED and not head.in_doubt:
                gap = self._refuse(head, steps)
                continue
            probe = next((item for item in self.window[1:] if item.in_doubt and item.action not in _NO_ANSWER), None)
            if probe is not None and not self._plain:
                return self._probe_with(probe, tick_ms, steps)
            if action is Action.REFUSED:
                steps.append(self._give_up(head, Failed.MAY_HAVE_BEEN_WRITTEN, maybe=True))
                gap = True
                continue
            return self._all_refused(tick_ms, steps)
        if gap:
            self._close_gap()
        else:
            self._sweep(tick_ms)
        return steps

    def _refuse(self, head: Item, steps: list[Step]) -> bool:
        """A definite refusal of the first batch, never in doubt. Returns whether a gap in the sequence is left."""
        bad = tuple(dict(head.errors).items()) if head.code in _RECORD_CODES else ()
        if bad and len(bad) < head.record_count and all(0 <= index < head.record_count for index, _ in bad):
            steps.append(Repair(head, head.code, bad))
            self._repaired(head, len(bad))
            return True
        if bad:
            reason = Failed.RECORD_REFUSED
        else:
            reason = Failed.MESSAGE_TOO_LARGE if head.code in _TOO_LARGE else Failed.BROKER_REFUSED
        steps.append(self._give_up(head, reason, maybe=False))
        return True

    def _repaired(self, head: Item, bad_count: int) -> None:
        """The batch goes on without its bad records, sealed again; alone in the window it keeps its base sequence."""
        head.record_count -= bad_count
        head.stamped = False
        head.action = None
        head.tries = 0
        head.errors = ()

    def _give_up(self, item: Item, reason: int, *, maybe: bool) -> Fail:
        self.window.remove(item)
        self._settle(item)
        text = item.text or "; ".join(text for _, text in item.errors[:3])
        return Fail(item, int(reason), item.code, maybe, text)

    def _probe_with(self, probe: Item, tick_ms: int, steps: list[Step]) -> list[Step]:
        """The head was refused, but one behind it is in doubt: its answer tells."""
        self._probe = probe
        self.cursor = 0
        if probe.action is Action.RETRY or probe.action is Action.DENIED:
            self._back_off(tick_ms)
        return steps

    def _all_refused(self, tick_ms: int, steps: list[Step]) -> list[Step]:
        """Nothing that may be in the log is recognised by the broker."""
        self._suspicions += 1
        if self._suspicions < SUSPICIONS_MAX:
            self.wants_refresh = True
            self._sweep(tick_ms)
            return steps
        self._suspicions = 0
        first, last = self.window[0], self.window[-1]
        end = (last.sequence + last.record_count - 1) & SEQUENCE_MASK
        text = (
            f"all refused as out of order: producer id {first.producer_id} epoch {first.epoch},"
            f" sequences {first.sequence}..{end}, last acknowledged offset {self.last_offset}"
        )
        self.last_offset = -1
        self._renumber_at_risk(fresh=False)
        steps.append(Suspicion(tuple(self.window), text))
        return steps

    def _sweep(self, tick_ms: int) -> None:
        """Once more from the first unsettled batch, after a pause."""
        self.cursor = 0
        if not self.window:
            return
        if self.window[0].action is not None:
            self._back_off(tick_ms)
        for item in self.window:
            if item.action is not Action.REFUSED:
                item.action = None

    def _back_off(self, tick_ms: int) -> None:
        self.failures += 1
        failures = max(self.failures, DENIED_BACKOFF_FAILURES) if self.denied_since_ms >= 0 else self.failures
        self.retry_at_ms = tick_ms + self._backoff(failures)

    # -- new numbers

    def _close_gap(self) -> None:
        """The first batch is gone for good, or shorter: those behind it cannot be in the log, and take new numbers."""
        window = self.window
        if self._plain:
            self.cursor = 0
            self.renumbering = [item for item in window if not item.stamped]
            return
        if len(window) == 1 and not window[0].stamped:
            numbers = self.numbers
            # Repaired, and nothing was sent behind it: the refused numbers were not consumed (broker-facts 6).
            numbers.next_sequence = (window[0].sequence + window[0].record_count) & SEQUENCE_MASK
            self.renumbering = [window[0]]
            self.cursor = 0
            return
        hidden = False
        for item in reversed(window):
            # In doubt and refused for itself: what is behind the one that failed may be in the log with it.
            hidden = hidden or (item.in_doubt and item.action is Action.REFUSED)
            item.risk = item.risk or (item.in_doubt and hidden)
            item.in_doubt = item.in_doubt and hidden
        self._renumber(list(window), fresh=False)

    def _renumber_at_risk(self, *, fresh: bool) -> None:
        for item in self.window:
            item.risk = item.risk or item.in_doubt
            item.in_doubt = False
        self._renumber(list(self.window), fresh=fresh)

    def _renumber(self, items: list[Item], *, fresh: bool) -> None:
        """All of the window takes numbers from sequence 0 at the next epoch, or of a fresh producer id."""
        self._unnumbered = items
        self._probe = None
        numbers = self.numbers
        if fresh or numbers.epoch >= EPOCH_MAX:
            if self._mine:
                self.own = None
                self._mine = False
            self.wants_identity = Want.FRESH
            return
        self._assign(Numbers(numbers.producer_id, numbers.epoch + 1))

    def _assign(self, numbers: Numbers) -> None:
        if self._mine:
            self.own = numbers
        self._numbers = numbers
        for item in self._unnumbered:
            numbers.give(item)
            item.action = None
            item.tries = 0
        self.renumbering = self._unnumbered
        self._unnumbered = []
        self.cursor = 0

    def renumbered(self) -> None:
        """The arena holds the new numbers of ``renumbering``."""
        self.renumbering = []

    # -- giving up for other reasons

    def expire(self, tick_ms: int, timeout_ms: int) -> list[Step]:
        """Batches never sent whose ``timeout_ms`` since sealing is over."""
        steps: list[Step] = []
        while self.queue and tick_ms - self.queue[0].sealed_tick_ms >= timeout_ms:
            item = self.queue.popleft()
            self._settle(item)
            steps.append(Fail(item, Failed.DELIVERY_TIMEOUT, 0, False, "delivery.timeout.ms passed"))
        return steps

    def deny(self, code: int) -> list[Step]:
        """The topic is denied for good: everything here fails. Only while nothing is in flight and no view is out."""
        if self.flying:
            raise DaemonError("a partition fails only while nothing of it is in flight")
        steps: list[Step] = []
        while self._runs:
            self.window.extend(self._runs.popleft()[0])
        touched = bool(self.window)
        for item in list(self.window):
            item.code = code
            reason = Failed.MAY_HAVE_BEEN_WRITTEN if item.in_doubt else Failed.TOPIC_DENIED
            steps.append(self._give_up(item, reason, maybe=item.in_doubt))
        while self.queue:
            item = self.queue.popleft()
            self._settle(item)
            steps.append(Fail(item, Failed.TOPIC_DENIED, code, False, item.text))
        self.halted = False
        self._probe = None
        self.renumbering = []
        self._unnumbered = []
        self.cursor = 0
        self._oldest_ms = _NEVER
        if touched and not self._plain:
            self._renumber([], fresh=False)
        return steps
