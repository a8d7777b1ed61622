"""When open batches are looked at: a timer for the next one that is due, whichever topic's it is."""

import asyncio
from collections.abc import Callable
from typing import Final

NEVER_MS: Final = -1


class Linger:
    """``seal_due(tick_ms)`` seals what has lingered long enough; it returns ms until the next batch is due, or
    NEVER_MS. ``least_ms``: how long a batch lingers at least, whatever its topic.
    """

    def __init__(
        self,
        seal_due: Callable[[int], int],
        least_ms: int,
        loop: asyncio.AbstractEventLoop,
        tick_ms: Callable[[], int],
    ) -> None:
        self._seal_due = seal_due
        self._least_ms = least_ms
        self._loop = loop
        self._tick_ms = tick_ms
        self._timer: asyncio.TimerHandle | None = None
        self._timer_tick_ms = 0
        """When the timer is due."""

    def opened(self) -> None:
        """A batch was opened, which may be due before all others that are open."""
        if self._timer is None or self._timer_tick_ms - self._tick_ms() > self._least_ms:
            self.look()

    def look(self) -> None:
        """Seals what is due; comes again when the next is. Batches that were left to grow may be due, too."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        tick_ms = self._tick_ms()
        due_ms = self._seal_due(tick_ms)
        if due_ms != NEVER_MS:
            self._timer_tick_ms = tick_ms + due_ms
            self._timer = self._loop.call_later(due_ms / 1000, self.look)
