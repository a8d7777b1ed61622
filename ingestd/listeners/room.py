"""What all sockets of a worker share: loop, record path, and who waits for what before it may go on.

A reader that had to stop keeps its place inside the record path; here is only who is to be resumed when. Somebody who
frees pages, settles a topic or takes pressure away says so; what nobody says is looked for once a second
(``look_again``).
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ingestd.hotpath import intake as path
from ingestd.hotpath.intake import Intake

PASS_READERS: Final = 16
"""Readers that may be found still blocked in one step of a pass, before others get the loop."""
PASS_PAUSE_SECONDS: Final = 0.01


class Reader(Protocol):
    """A socket that can be told to go on. :meth:`resume` returns False when it is blocked again."""

    def resume(self) -> bool: ...


class Cell(Protocol):
    """A counter of the scoreboard's row."""

    def __call__(self, change: int) -> None: ...


def clock() -> tuple[int, int]:
    """(wall clock, monotonic) in milliseconds."""
    return time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000


@dataclass(frozen=True)
class Hooks:
    """What the composition root does for the listeners.

    ``sealed``: batches were sealed; ``opened``: one was opened, its linger runs; ``topic_wanted``: somebody waits for
    the partition count of the topic with this index; ``memory_short``: somebody waits for pages.
    """

    sealed: Callable[[], None]
    opened: Callable[[], None]
    topic_wanted: Callable[[int], None]
    memory_short: Callable[[], None]
    connections: Cell
    errors: Cell


class Room:
    """Shared by all listeners of one worker; only used from the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, intake: Intake, hooks: Hooks) -> None:
        self.loop = loop
        self.intake = intake
        self.hooks = hooks
        self.stopping = False
        self._for_pages: dict[Reader, None] = {}
        self._for_pressure: dict[Reader, None] = {}
        self._for_topic: dict[int, dict[Reader, None]] = {}
        self._for_budget: dict[int, Reader] = {}
        self._look_again = False
        self._pass_left = 0
        self._pass_timer: asyncio.Handle | None = None
        self._waits_since_ms = -1
        self._waited_ms = 0

    def note(self, flags: int) -> None:
        """Passes on what a read did to the batches."""
        if flags & path.SEALED:
            self.hooks.sealed()
        if flags & path.OPENED:
            self.hooks.opened()
        if self._for_budget:
            # Whoever has read may have left the budget of held bytes to the next.
            reader = self._for_budget.pop(self.intake.hold_turn, None)
            if reader is not None:
                self.loop.call_soon(reader.resume)

    @property
    def budget_awaited(self) -> bool:
        """Whether somebody waits for the budget of held bytes: then :meth:`note` is called after every read."""
        return bool(self._for_budget)

    def park(self, reader: Reader, flags: int, blocked_reason: int, wanted_topic: int, hold_ticket: int = 0) -> None:
        """Remembers who has to be resumed; ``flags`` holds BLOCKED or TOPIC_WAIT."""
        if flags & path.TOPIC_WAIT:
            self._for_topic.setdefault(wanted_topic, {})[reader] = None
            self.hooks.topic_wanted(wanted_topic)
        elif blocked_reason == path.BLOCKED_BY_PRESSURE:
            self._for_pressure[reader] = None
            self._look_at_wait()
        elif blocked_reason == path.BLOCKED_BY_HOLD:
            self._for_budget[hold_ticket] = reader
        elif blocked_reason != path.BLOCKED_BY_CONFIRM:
            first = not self._for_pages
            self._for_pages[reader] = None
            self._look_at_wait()
            self._look_again = self._look_again or blocked_reason != path.BLOCKED_BY_ARENA
            if first or blocked_reason == path.BLOCKED_BY_ARENA:
                self.hooks.memory_short()

    def forget(self, reader: Reader) -> None:
        """The reader is closed."""
        self._for_pages.pop(reader, None)
        self._for_pressure.pop(reader, None)
        for waiting in self._for_topic.values():
            waiting.pop(reader, None)
        for ticket in [ticket for ticket, waiting in self._for_budget.items() if waiting is reader]:
            del self._for_budget[ticket]
        self._look_at_wait()

    def _look_at_wait(self) -> None:
        """Starts or stops the watch over how long somebody has been waiting for room."""
        if self._for_pages or self._for_pressure:
            if self._waits_since_ms < 0:
                self._waits_since_ms = clock()[1]
        elif self._waits_since_ms >= 0:
            self._waited_ms += clock()[1] - self._waits_since_ms
            self._waits_since_ms = -1

    def take_waited_ms(self) -> int:
        """For how long, since the last call, at least one reader has waited for room in the arena."""
        self._look_at_wait()
        if self._waits_since_ms >= 0:
            now_ms = clock()[1]
            self._waited_ms += now_ms - self._waits_since_ms
            self._waits_since_ms = now_ms
        waited_ms, self._waited_ms = self._waited_ms, 0
        return waited_ms

    @property
    def pages_awaited(self) -> bool:
        """Whether somebody waits for pages."""
        return bool(self._for_pages)

    def topic_settled(self, index: int) -> None:
        """The partition count is known now, or the topic is refused from now on."""
        for reader in self._for_topic.pop(index, ()):
            self.loop.call_soon(reader.resume)

    def pressure_changed(self) -> None:
        """Whoever stopped for the pressure tries again."""
        waiting, self._for_pressure = self._for_pressure, {}
        for reader in waiting:
            self.loop.call_soon(reader.resume)

    def pages_freed(self) -> None:
        """Pages came back, or a partition takes batches again: one pass over everybody who waits, in turns."""
        if not self._for_pages:
            return
        self._pass_left = len(self._for_pages)
        if self._pass_timer is None:
            self._pass_timer = self.loop.call_soon(self._pass)

    def look_again(self) -> None:
        """Once a second: a partition that was held back may be open again, or others have let go of held bytes.

        Who is first in line for these is told at once; those behind him need him only if there is still too little.
        """
        for ticket in list(self._for_budget)[:PASS_READERS]:
            self.loop.call_soon(self._for_budget.pop(ticket).resume)
        if self._look_again:
            self._look_again = False
            self.pages_freed()

    def _pass(self) -> None:
        self._pass_timer = None
        blocked = 0
        while self._pass_left > 0 and self._for_pages and blocked < PASS_READERS:
            self._pass_left -= 1
            reader = next(iter(self._for_pages))
            del self._for_pages[reader]
            # One that is still blocked comes back to the end by park(): everybody gets his turn.
            blocked += not reader.resume()
        if self._pass_left > 0 and self._for_pages:
            self._pass_timer = self.loop.call_later(PASS_PAUSE_SECONDS, self._pass)


def own_paths_of(paths: Sequence[str]) -> list[bytes]:
    """Paths as they go over the wire."""
    return [path_text.encode("utf-8", "surrogateescape") for path_text in paths]
