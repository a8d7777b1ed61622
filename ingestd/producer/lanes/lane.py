"""One partition's batches in order, what may be sent next, and what an answer settles. Pure; decisions: delivery.py."""

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final

from ingestd.errors import DaemonError
from ingestd.kafka.errors import Action, Effect, error_of
from ingestd.limits import BATCHES_IN_DOUBT_MAX, DENIAL_PAUSE_MS
from ingestd.producer.lanes.item import EPOCH_MAX, NEVER_MS, SEQUENCE_MASK, Item, Numbers, address_of

OLD_MS: Final = 23 * 3600 * 1000
"""A broker forgets a producer after producer.id.expiration.ms (24 h by default): an hour less is sure."""
SHOWN_MS: Final = 60_000
"""For so long a refusal for order shows that the broker has memory: nobody knows how old that is."""
TRIES_MAX: Final = 5
"""Answers in a row of a kind that may pass, before they count as a refusal."""


NO_QUEUE: Final[deque[Any]] = deque()
"""The queue of every lane where nothing waits: never appended to. An empty one of its own would be most of a lane's
memory, and of ten thousand partitions few have something waiting at a time."""
NO_ITEMS: Final[list[Any]] = []
"""Likewise for lists that are replaced and never changed."""


class Want(Enum):
    """Which producer id a lane waits for."""

    NOTHING = "nothing"
    SHARED = "shared"
    """This process's."""
    FRESH = "fresh"
    """One that nobody has used."""


_FRESH: Final = Want.FRESH
"""Members of an enum are looked up slowly, and this one for every batch."""


class LaneQueue:
    """One partition. ``backoff(failures)`` gives a delay in ms; ``idempotent`` False: no numbers, no proofs.

    ``expires_attempted``: as in Kafka's producer, delivery.timeout.ms ends batches that were sent, too. What became of
    them is then not known, and nothing new is sent before their numbers are ``unresolved`` no more.
    """

    __slots__ = (
        "_backoff",
        "_expires_attempted",
        "_mine",
        "_numbers",
        "_oldest_ms",
        "_plain",
        "_probe",
        "_retries_max",
        "_shown_tick_ms",
        "_suspicions",
        "_unnumbered",
        "bumps",
        "carrier",
        "crowded",
        "cursor",
        "denied_code",
        "denied_last_ms",
        "denied_pause_ms",
        "denied_since_ms",
        "failures",
        "figures",
        "flying",
        "halted",
        "held",
        "last_offset",
        "log_start_offset",
        "met",
        "offsets_of",
        "own",
        "partition",
        "queue",
        "queued",
        "regressions",
        "renumbering",
        "retry_at_ms",
        "route",
        "runs",
        "timer",
        "topic",
        "unresolved",
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
        expires_attempted: bool = False,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.route: Any = None
        """The caller's: where this lane's batches go; ``carrier``: what carries those in flight; ``queued``: waits for
        its turn there; ``held``: must not be sent; ``timer``: wakes it after a pause."""
        self.carrier: Any = None
        self.queued = False
        self.held = False
        self.crowded = False
        """The caller's: batches wait here, so the open one is left to grow."""
        self.timer: Any = None
        self.figures: list[int] = NO_ITEMS
        """The meter's: where its topic is counted."""
        self.queue: deque[Item] = NO_QUEUE
        self.window: list[Item] = []
        self.cursor = 0
        """Index in the window of the next batch of this sweep; at its end new ones are stamped."""
        self.flying = 0
        self.halted = False
        self.renumbering: list[Item] = NO_ITEMS
        """Batches whose new numbers the arena must have before anything is sent."""
        self.wants_identity = Want.NOTHING
        self.wants_refresh = False
        self.retry_at_ms = 0
        """Monotonic; 0: at once."""
        self.failures = 0
        self.waiting_bytes = 0
        self.denied_since_ms = self.denied_last_ms = self.denied_pause_ms = -1
        """When the topic was denied first and last in a row (-1: it was not), and the end of our own pause then."""
        self.denied_code = 0
        self.last_offset = -1
        self.bumps = 0
        """Times the window took a next epoch; whoever counts them sets it back."""
        self.log_start_offset = -1
        """Where the broker says the log begins, from the last refusal that said so."""
        self.offsets_of: Any = None
        """The caller's: the incarnation of the topic that ``last_offset`` belongs to."""
        self.met = (0, "")
        """(code, text) of the last error that a broker has answered here since the last success."""
        self.unresolved: list[Item] = []
        """Batches given up after they were sent: it is not known whether the broker has their numbers."""
        self.regressions: list[str] = []
        """Acknowledged offsets below one acknowledged before, for which the log must have been cut, with address."""
        self.own: Numbers | None = None if idempotent else Numbers(-1, -1, -1)
        """This process's numbers here; recovered batches go out under theirs first."""
        self._numbers: Numbers | None = None
        self._mine = False
        """The window is under this process's own numbers."""
        self._plain = not idempotent
        self._retries_max = retries_max
        self._expires_attempted = expires_attempted
        self._backoff = backoff
        self.runs: list[tuple[list[Item], Numbers, list[Item]]] = NO_ITEMS
        """Batches of dead processes that are not in the window yet; see ``add_run``."""
        self._unnumbered: list[Item] = NO_ITEMS
        self._probe: Item | None = None
        self._shown_tick_ms = 0
        """Monotonic time of the last refusal for order."""
        self._suspicions = 0
        self._oldest_ms = NEVER_MS

    # -- what comes in

    def enqueue(self, item: Item) -> None:
        """A sealed batch, behind all others."""
        if self.queue is NO_QUEUE:
            self.queue = deque()
        self.queue.append(item)
        self.waiting_bytes += item.size_bytes

    def add_run(self, items: list[Item], numbers: Numbers, renumbered: list[Item]) -> None:
        """Batches a dead process had stamped, under one (producer id, epoch); they go before anything new.

        ``renumbered``: those among them whose numbers here differ from what the arena holds.
        """
        self.runs = [*self.runs, (items, numbers, renumbered)]
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

    def topic_made_anew(self) -> None:
        """The topic is another one of the same name: offsets begin again, and what its brokers remember is not ours."""
        self.last_offset = self.log_start_offset = -1
        for numbers in (self._numbers, self.own):
            if numbers is not None and not self._plain:
                numbers.lapse()
        for item in self.window:
            item.outdated = item.flying

    # -- what goes out

    def take(self, now_ms: int, tick_ms: int) -> Item | None:
        """The next batch to send, or None. An unstamped one has got its numbers: stamp it before sending.

        The caller must send it, and then call ``succeeded`` or ``failed`` exactly once.
        """
        if self.halted or self.renumbering or tick_ms < self.retry_at_ms or self.wants_identity is _FRESH:
            return None
        window = self.window
        if self.cursor < len(window) or self._probe is not None:
            return self._take_again(now_ms, tick_ms)
        if not window and self.runs:
            return self._take_again(now_ms, tick_ms) if self._begin_run() else None
        queue = self.queue
        if not queue or self.unresolved or not (window or self._begin_own(now_ms)):
            return None
        numbers = self.numbers
        item = queue[0]
        if window and (
            not numbers.confirmed
            or len(window) >= BATCHES_IN_DOUBT_MAX
            or (min(item.oldest_ms, self._oldest_ms) < now_ms - OLD_MS and not self._plain)
            or not self._mine
        ):
            return None
        queue.popleft()
        if not queue:
            self.queue = NO_QUEUE
        if not self._plain:
            numbers.give(item)
        window.append(item)
        self.cursor = len(window)
        self._fly(item, now_ms)
        return item

    def _take_again(self, now_ms: int, tick_ms: int) -> Item | None:
        """The next batch of a sweep over what has numbers already."""
        numbers = self.numbers
        if self._probe is not None and numbers.known and tick_ms - self._shown_tick_ms > SHOWN_MS and not self.flying:
            self._begin_sweep()
        if self._probe is not None:
            if self.flying:
                return None
            item = self._probe
        else:
            if self.cursor >= BATCHES_IN_DOUBT_MAX:
                # a batch that was split has made the window longer than a broker's memory
                return None
            item = self.window[self.cursor]
            one_at_a_time = not numbers.confirmed or self._may_be_forgotten(now_ms)
            if self.flying and (one_at_a_time or item.action is Action.REFUSED):
                return None
            self.cursor += 1
        if item.in_doubt and (self._plain or item.overtaken or self._is_old(now_ms)):
            item.risk = True
        item.outdated = False
        self._fly(item, now_ms)
        return item

    def _begin_sweep(self) -> None:
        """Once more from the first unsettled batch; whatever was learnt of the broker's memory may be over."""
        self.cursor = 0
        self._probe = None
        if not self._plain:
            self.numbers.lapse()
        for item in self.window:
            if item.action is not Action.REFUSED:
                item.action = None

    def _fly(self, item: Item, now_ms: int) -> None:
        item.flying = True
        item.action = None
        item.attempts += 1
        if now_ms < item.oldest_ms:
            item.oldest_ms = now_ms
        if item.oldest_ms < self._oldest_ms:
            self._oldest_ms = item.oldest_ms
        self.flying += 1

    def _may_be_forgotten(self, now_ms: int) -> bool:
        """As ``_is_old``, or what was taken last is, and nothing behind it was."""
        return not self._plain and (self.numbers.seen_ms < now_ms - OLD_MS or self._is_old(now_ms))

    def _is_old(self, now_ms: int) -> bool:
        """The broker's memory of what is in the window may have expired."""
        if self._plain:
            return False
        horizon_ms = now_ms - OLD_MS
        if self._oldest_ms >= horizon_ms:
            return False
        self._oldest_ms = min((item.oldest_ms for item in self.window), default=NEVER_MS)
        return self._oldest_ms < horizon_ms

    def _begin_own(self, now_ms: int) -> bool:
        """Nothing is in the window: new batches may begin. False: there is no producer id yet."""
        if not self._mine:
            if self.own is None:
                self.wants_identity = Want.SHARED
                return False
            self._numbers = self.own
            self._mine = True
        numbers = self.numbers
        if numbers.seen_ms < now_ms - OLD_MS and not self._plain:
            numbers.lapse()
        return True

    def _begin_run(self) -> bool:
        """The next batches of a dead process. False: they need numbers first."""
        items, numbers, renumbered = self.runs.pop(0)
        self.window[:] = items
        self._numbers = numbers
        numbers.seen_ms = 0
        self._mine = False
        self.cursor = 0
        self._oldest_ms = min(item.oldest_ms for item in items)
        self._restamp(list(renumbered))
        if numbers.epoch > EPOCH_MAX and not (self._plain and numbers.producer_id < 0):
            self._renumber(list(items), fresh=True)
        return not self.renumbering and self.wants_identity is not _FRESH

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
        return bool(self.queue or self.cursor < len(self.window) or self._probe or self.runs)

    @property
    def has_work(self) -> bool:
        """Something waits here, sent or not."""
        return bool(self.window or self.queue or self.runs)

    @property
    def waiting_batches(self) -> int:
        """All that has no outcome yet, sent or not."""
        return len(self.window) + len(self.queue) + sum(len(items) for items, _, _ in self.runs)

    @property
    def oldest_created_ms(self) -> int:
        """When the first record of what goes first here was accepted (wall clock); 0: nothing waits."""
        first = self.window or (self.runs[0][0] if self.runs else self.queue)
        return first[0].batch.created_ms if first else 0

    # -- what comes back

    def succeeded(self, item: Item, base_offset: int, now_ms: int) -> Sequence[Item]:
        """The broker acknowledged ``item``. Returns what is settled by that, in order: those proven, then itself."""
        self.flying -= 1
        item.flying = False
        if item.settled:
            if item in self.unresolved:
                self._resolved_up_to(item)
            return ()
        if self.unresolved and not item.outdated:
            # The broker has taken what follows them.
            self.unresolved.clear()
        self.failures = self._suspicions = 0
        self.met = (0, "")
        self.retry_at_ms = 0
        self.denied_since_ms = -1
        window = self.window
        if window[0] is not item or item.outdated or item.overtaken:
            return self._succeeded_aside(item, base_offset, now_ms)
        if base_offset >= 0:
            if base_offset <= self.last_offset:
                self._regressed(item, base_offset)
            self.last_offset = base_offset
        numbers = self.numbers
        numbers.confirmed = numbers.known = True
        numbers.seen_ms = item.oldest_ms
        del window[0]
        self.cursor -= 1
        item.settled = True
        self.waiting_bytes -= item.size_bytes
        if not window:
            self._oldest_ms = NEVER_MS
        if item.cut and not item.risk:
            self._whole_is_not_there(item)
        return (item,)

    def _whole_is_not_there(self, part: Item) -> None:
        """The broker has ``part`` by itself, so nothing that it was cut from is in the log. A success of what stands
        before a whole shows no such thing: it may have been a repeat, with the whole behind it."""
        for other in self.window:
            if other.cut == part.cut:
                other.cut = 0
                other.in_doubt = False

    def _resolved_up_to(self, item: Item) -> None:
        """The broker has ``item``, and so those before it, though they were given up. Its memory ends with it."""
        del self.unresolved[: self.unresolved.index(item) + 1]
        self.numbers.seen_ms = item.oldest_ms

    def _succeeded_aside(self, item: Item, base_offset: int, now_ms: int) -> Sequence[Item]:
        """A success of a batch behind unsettled ones: proof of those in doubt, if the broker had memory of them. Or of
        one whose answer tells less than another's would."""
        self._probe = None
        window = self.window
        numbers = self.numbers
        at = window.index(item)
        proves = numbers.known and not self._plain and not item.outdated and not self._may_be_forgotten(now_ms)
        if base_offset >= 0 and not item.outdated and not item.overtaken:
            if base_offset <= self.last_offset:
                self._regressed(item, base_offset)
                proves = False
            self.last_offset = base_offset
        settled = [before for before in window[:at] if proves and before.in_doubt and not before.overtaken]
        settled.append(item)
        for one in settled:
            window.remove(one)
            self._settle(one)
        if not item.outdated:
            numbers.confirmed = numbers.known = True
            numbers.seen_ms = item.oldest_ms
        left = at + 1 - len(settled)
        for before in window[:left]:
            before.overtaken = True
        for later in window[left:]:
            # refused for order before this success: that refusal says nothing any more
            later.action = None if later.action is Action.OUT_OF_ORDER else later.action
        self.cursor = len(window)
        self.halted = bool(window or self.unresolved)
        if not window:
            self._oldest_ms = NEVER_MS
        return settled

    def _regressed(self, item: Item, base_offset: int) -> None:
        self.regressions.append(
            f"{address_of((item,))} acknowledged at offset {base_offset}, after offset {self.last_offset} before"
        )

    def _settle(self, item: Item) -> None:
        item.settled = True
        self.waiting_bytes -= item.size_bytes

    def failed(
        self,
        item: Item,
        code: int,
        tick_ms: int,
        errors: tuple[tuple[int, str], ...] = (),
        text: str = "",
        log_start_offset: int = -1,
    ) -> None:
        """The request with ``item`` met ``code`` (NETWORK_EXCEPTION: no answer will come)."""
        self.flying -= 1
        item.flying = False
        if item.settled:
            return
        row = error_of(code)
        action = row.action
        if row.effect is not Effect.NOT_WRITTEN:
            item.may_be_written()
            self._may_have_overtaken(item)
        if action is Action.RETRY_FEW:
            item.tries += 1
            action = Action.REFUSED if item.tries > TRIES_MAX else Action.RETRY
        elif row.from_broker:
            item.tries = 0
            if action is Action.OUT_OF_ORDER:
                self._refused_for_order(item, tick_ms)
        if action is Action.RETRY and item.attempts > self._retries_max:
            action = Action.REFUSED
        if log_start_offset >= 0:
            self.log_start_offset = log_start_offset
        if row.from_broker:
            self.met = (code, text)
            self._note_denial(action, code, tick_ms)
        item.action = action
        item.code = code
        item.errors = errors
        item.text = text
        self.wants_refresh = self.wants_refresh or row.refresh
        self.halted = True

    def _may_have_overtaken(self, item: Item) -> None:
        """A broker without memory takes ``item`` whatever is missing before it. What it remembers from then on comes
        from ``item``, and shows nothing of those before."""
        if not (self._plain or item.outdated or self.numbers.known):
            for before in self.window[: self.window.index(item)]:
                before.overtaken = True

    def _note_denial(self, action: Action, code: int, tick_ms: int) -> None:
        """Keeps the time since which the broker has denied the topic without a break: being away is one, a pause of our
        own is none."""
        if action is not Action.DENIED:
            self.denied_since_ms = -1
            return
        if self.denied_since_ms < 0 or tick_ms - max(self.denied_last_ms, self.denied_pause_ms) > DENIAL_PAUSE_MS:
            self.denied_since_ms = tick_ms
        self.denied_last_ms = tick_ms
        self.denied_code = code

    def _refused_for_order(self, item: Item, tick_ms: int) -> None:
        """A refusal that shows memory of the numbers that ``item`` has."""
        if self._plain or item.outdated:
            return
        self._shown_tick_ms = tick_ms
        numbers = self.numbers
        numbers.known = True
        if item is self.window[0] and not item.overtaken:
            # It would have been taken, or recognised, if the broker's memory ended right before it. Nor does that end
            # with one taken ahead of it, which may be older.
            numbers.seen_ms = NEVER_MS

    # -- new numbers

    def _renumber(self, items: list[Item], *, fresh: bool) -> None:
        """All of the window takes numbers from sequence 0 at the next epoch, or of a fresh producer id."""
        self._unnumbered = items
        self.unresolved.clear()
        self._probe = None
        numbers = self.numbers
        if self._plain and (fresh or numbers.epoch >= EPOCH_MAX):
            # Nobody gives out producer ids here.
            self._assign(Numbers(-1, -1, -1))
            return
        if fresh or numbers.epoch >= EPOCH_MAX:
            if self._mine:
                self.own = None
                self._mine = False
            self.wants_identity = Want.FRESH
            return
        bumped = Numbers(numbers.producer_id, numbers.epoch + 1)
        bumped.seen_ms = numbers.seen_ms
        self.bumps += 1
        self._assign(bumped)

    def _assign(self, numbers: Numbers) -> None:
        if self._mine:
            self.own = numbers
        self._numbers = numbers
        for item in self._unnumbered:
            numbers.give(item)
            item.action = None
            item.tries = 0
            item.overtaken = False
            item.cut = 0
        self._restamp(self._unnumbered)
        self._unnumbered = NO_ITEMS
        self.cursor = 0

    def _restamp(self, items: list[Item]) -> None:
        """The arena must get the numbers of ``items``; a crash may cut that after any of them."""
        self.renumbering = items
        behind = False
        for item in reversed(items):
            item.risk_behind = behind
            behind = behind or item.risk

    def renumbered(self) -> None:
        """The arena holds the new numbers of ``renumbering``."""
        self.renumbering = NO_ITEMS
