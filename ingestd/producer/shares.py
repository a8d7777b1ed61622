"""Room in the arena and turns of the line, shared out: partitions are held, and open batches are left to grow.

What is decided about holds is in budget.py; this is when it is looked at. A partition whose sealed batches cannot be
sent yet gets no more of them for its linger time: the open one grows until it is full or they are on their way, so a
slow broker gets large batches, and an outage fills the arena with records and not with the ends of pages.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from ingestd.producer.attachment import Attachment
from ingestd.producer.budget import RELAXED_LEVEL
from ingestd.producer.lanes.delivery import Lane

CROWD: Final = 2
"""With so many batches waiting in a partition, its open one grows."""
REVIEW_MS: Final = 10
"""How often an arena that is getting full is looked at while that changes; up to REVIEW_MS_MAX while it does not."""
REVIEW_MS_MAX: Final = 1000
LEVEL_STEP: Final = 0.005
"""A change of the arena's level that counts."""
REVIEW_PAUSE: Final = 50
"""Of the CPU time that a look took: so much is left between two at least, so that many partitions do not cost much.
By the wall clock, a look that others had the processor during would put off the next one while an arena fills."""


class Shares:
    """``relieved()``: batches that were left to grow may be due (``Intake.seal_due``); None: none is left to grow.

    ``released()``: whoever waits for room may try again.
    """

    def __init__(
        self,
        attachments: Mapping[Any, Attachment],
        relieved: Callable[[], None] | None,
        released: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._attachments = attachments
        self._relieved = relieved
        self._released = released
        self._relieving = False
        """``relieved`` is about to be called."""
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def close(self) -> None:
        """Nothing is held or released any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    # -- batches that grow

    def crowd(self, attachment: Attachment, lane: Lane) -> None:
        """Batches wait in ``lane``: its open one is left to grow, until ``relieve``."""
        if self._relieved is not None and attachment.intake is not None:
            lane.crowded = True
            attachment.intake.let_grow(*attachment.keys[lane], True)

    def relieve(self, lane: Lane) -> None:
        """What waited in ``lane`` is on its way, or gone: its open batch may follow."""
        lane.crowded = False
        for attachment in self._attachments.values():
            if attachment.intake is not None and lane in attachment.keys:
                attachment.intake.let_grow(*attachment.keys[lane], False)
        if not self._relieving:
            self._relieving = True
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._relieving = False
        if self._relieved is not None and not self._closed:
            self._relieved()

    # -- partitions that are held

    def look(self) -> None:
        """An arena is no longer nearly empty: its shares are looked at soon, and again until it is."""
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(REVIEW_MS / 1000, self._review, REVIEW_MS)

    def _review(self, delay_ms: int) -> None:
        self._timer = None
        began_ns = time.thread_time_ns()
        looked_at = [attachment for attachment in self._attachments.values() if attachment.intake is not None]
        changed = [self._review_one(attachment) for attachment in looked_at]
        if any(one.arena.level >= RELAXED_LEVEL or one.budget.held for one in looked_at):
            delay_ms = REVIEW_MS if any(changed) else min(2 * delay_ms, REVIEW_MS_MAX)
            took_ms = (time.thread_time_ns() - began_ns) // 1_000_000
            delay_ms = max(delay_ms, REVIEW_PAUSE * took_ms)
            self._timer = self._loop.call_later(delay_ms / 1000, self._review, delay_ms)

    def _review_one(self, attachment: Attachment) -> bool:
        """Returns whether anything is different from what it was at the last look."""
        level = attachment.arena.level
        held, released = attachment.budget.review(attachment.keys, level)
        for lane in (*held, *released):
            # A topic or partition that is left of another configuration or from before is not known to the intake.
            with suppress(ValueError):
                attachment.intake.hold(*attachment.keys[lane], lane in attachment.budget.held)
        if released:
            self._released()
        before, attachment.level = attachment.level, level
        return bool(held or released) or abs(level - before) >= LEVEL_STEP
