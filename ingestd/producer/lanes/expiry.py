"""What a lane gives up for another reason than an answer: its time is over, or its topic is denied for good. Pure."""

from ingestd.errors import DaemonError
from ingestd.kafka.errors import error_of
from ingestd.metrics import Failed
from ingestd.producer.lanes.item import NEVER_MS, Fail, Item, Step
from ingestd.producer.lanes.lane import LaneQueue


class ExpiringLane(LaneQueue):
    """A partition's lane whose batches can end without an answer."""

    __slots__ = ()

    def _give_up(self, item: Item, reason: int, *, maybe: bool) -> Fail:
        self.window.remove(item)
        self._settle(item)
        text = item.text or "; ".join(text for _, text in item.errors[:3])
        return Fail(item, int(reason), item.code, maybe, text)

    def overdue(self, tick_ms: int, timeout_ms: int) -> bool:
        """Whether ``expire`` would give anything up."""
        heads = [line[0] for line in (self.window if self._expires_attempted else (), self.queue) if line]
        return any(tick_ms - item.sealed_tick_ms >= timeout_ms for item in heads)

    def expire(self, tick_ms: int, timeout_ms: int, trouble: tuple[int, str] = (0, "")) -> list[Step]:
        """Gives up what has waited for ``timeout_ms`` since its sealing, oldest first: batches never sent, and with
        ``expires_attempted`` those sent as well, in flight or not.

        ``trouble``: (code, text) of what the caller knows of the way to the broker; it is told where no broker has
        answered here since the last success. If ``must_resolve`` holds afterwards, the caller resolves.
        """
        steps: list[Step] = []
        if self._expires_attempted and not self.runs:
            while self.window and tick_ms - self.window[0].sealed_tick_ms >= timeout_ms:
                steps.append(self._expire_attempted(self.window[0], trouble))
        while self.queue and tick_ms - self.queue[0].sealed_tick_ms >= timeout_ms:
            item = self.queue.popleft()
            code, text = self._trouble_of(item, trouble)
            steps.append(self._give_up_unsent(item, Failed.DELIVERY_TIMEOUT, code, text))
        return steps

    def _give_up_unsent(self, item: Item, reason: int, code: int, text: str) -> Fail:
        """``item`` has left the queue. What a dead process had split may have been written as a whole (FLAG_RISK)."""
        self._settle(item)
        if item.risk:
            return Fail(item, Failed.MAY_HAVE_BEEN_WRITTEN, code, True, f"{text}; it may have been written")
        return Fail(item, reason, code, False, text)

    def _trouble_of(self, item: Item, trouble: tuple[int, str]) -> tuple[int, str]:
        """What stood in the way of ``item``, for its sender: the broker's last word, else what the caller knows."""
        code, said = next(((code, said) for code, said in ((item.code, item.text), self.met, trouble) if code), (0, ""))
        if not code:
            return 0, "delivery.timeout.ms passed"
        return code, f"delivery.timeout.ms passed; last error {error_of(code).name}{': ' if said else ''}{said}"

    def _expire_attempted(self, item: Item, trouble: tuple[int, str]) -> Fail:
        """The head of the window: what it was numbered is unresolved until an answer says that the broker has it."""
        maybe = item.flying or item.in_doubt or item.risk
        code, text = self._trouble_of(item, trouble)
        self.cursor = max(self.cursor - 1, 0)
        self.window.remove(item)
        self._settle(item)
        self._unnumbered = [one for one in self._unnumbered if one is not item]
        self.renumbering = [one for one in self.renumbering if one is not item]
        self._probe = None if self._probe is item else self._probe
        self.halted = True
        if not self._plain:
            self.unresolved.append(item)
        if maybe:
            return Fail(item, Failed.MAY_HAVE_BEEN_WRITTEN, code, True, f"{text}; it may have been written")
        return Fail(item, Failed.DELIVERY_TIMEOUT, code, False, text)

    def deny(self, code: int) -> list[Step]:
        """The topic is denied for good: everything here fails. Only while nothing is in flight and no view is out."""
        if self.flying:
            raise DaemonError("a partition fails only while nothing of it is in flight")
        steps: list[Step] = []
        while self.runs:
            self.window.extend(self.runs.pop(0)[0])
        touched = bool(self.window or self.unresolved)
        for item in list(self.window):
            item.code = code
            maybe = item.in_doubt or item.risk
            reason = Failed.MAY_HAVE_BEEN_WRITTEN if maybe else Failed.TOPIC_DENIED
            steps.append(self._give_up(item, reason, maybe=maybe))
        while self.queue:
            item = self.queue.popleft()
            steps.append(self._give_up_unsent(item, Failed.TOPIC_DENIED, code, item.text))
        self.halted = False
        self._probe = None
        self.renumbering = []
        self._unnumbered = []
        self.cursor = 0
        self._oldest_ms = NEVER_MS
        if touched and not self._plain and self._numbers is not None:
            self._renumber([], fresh=False)
        return steps
