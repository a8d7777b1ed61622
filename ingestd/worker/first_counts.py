"""The start of datagram sockets: they are left unread until the partition counts of their topics are known.

A datagram cannot wait in its place: read before the cluster's first answer it would be refused, though that answer is
only milliseconds away. So it waits in the kernel's queue, but not for long: there is no room for much, and whoever
writes to a Unix socket stands still meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

logger = logging.getLogger(__name__)

STEP_SECONDS: Final = 0.1
"""Time is counted in steps: one in which this process could not run counts once, however long it was."""
STEPS_MAX: Final = 50
"""For a socket of whose topics none has a count. A cluster that can be reached has answered by then."""
STEPS_MORE: Final = 5
"""For the others once one has: the same answer tells them all, but for a topic that is just being created."""


@dataclass
class _Unread:
    """A socket that has not begun. ``missing``: names of its topics without a count, by index."""

    listener: str
    missing: dict[int, str]
    steps_left: int
    begin: Callable[[], None]


class FirstCounts:
    """``seconds_max``: max.block.ms; no socket waits longer."""

    def __init__(self, seconds_max: float, loop: asyncio.AbstractEventLoop) -> None:
        self._steps_max = round(seconds_max / STEP_SECONDS)
        self._loop = loop
        self._known: set[int] = set()
        self._unread: list[_Unread] = []
        self._told: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def await_counts(self, listener: str, topics: Mapping[int, str], begin: Callable[[], None]) -> None:
        """Calls ``begin`` once all ``topics`` (names by index) of ``listener`` have a count, or the wait is over."""
        missing = {index: name for index, name in topics.items() if index not in self._known}
        steps = min(self._steps_max, STEPS_MAX if len(missing) == len(topics) else STEPS_MORE)
        unread = _Unread(listener, missing, steps, begin)
        if not missing or not steps:
            self._begin(unread)
            return
        self._unread.append(unread)
        if self._timer is None:
            self._timer = self._loop.call_later(STEP_SECONDS, self._step)

    def known(self, index: int) -> None:
        """The topic has a count."""
        self._known.add(index)
        for unread in [unread for unread in self._unread if index in unread.missing]:
            del unread.missing[index]
            unread.steps_left = min(unread.steps_left, STEPS_MORE)
            if not unread.missing:
                self._unread.remove(unread)
                self._begin(unread)

    def _step(self) -> None:
        self._timer = None
        for unread in list(self._unread):
            unread.steps_left -= 1
            if unread.steps_left <= 0:
                self._unread.remove(unread)
                self._begin(unread)
        if self._unread:
            self._timer = self._loop.call_later(STEP_SECONDS, self._step)

    def _begin(self, unread: _Unread) -> None:
        if unread.missing and unread.listener not in self._told:
            # Once for all its sockets.
            self._told.add(unread.listener)
            logger.warning(
                "listener %s: the partition count of %s is not known yet; datagrams for it are refused as topic_unknown"
                " until the cluster shows it, or [topics.NAME] partitions says it",
                unread.listener,
                ", ".join(unread.missing.values()),
            )
        unread.begin()

    def close(self) -> None:
        """Nobody begins any more."""
        self._unread.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
