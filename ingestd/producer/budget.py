"""Who may go on filling the arena once it runs short: a sick partition must not take the room of the healthy ones.

Pure. Above SHORT_LEVEL no new batch is opened for a partition that is not getting anywhere (its leader is unknown or
not connected, it is being refused, or its oldest batch has waited STUCK_MS), or that holds half of the arena by itself,
as long as some broker is connected: with Kafka away as a whole there is nobody to keep room for.
"""

from collections.abc import Iterable
from typing import Final

from ingestd.producer.delivery import Lane

SHORT_LEVEL: Final = 0.8
RELIEVED_LEVEL: Final = 0.7
STUCK_MS: Final = 5000
SHARE_MAX: Final = 0.5


def is_sick(lane: Lane, tick_ms: int) -> bool:
    """Nothing of it is getting out."""
    broker = lane.route
    if broker is None or not broker.is_ready or lane.failures > 1 or lane.denied_since_ms >= 0:
        return True
    oldest = lane.window[0] if lane.window else lane.queue[0] if lane.queue else None
    return oldest is not None and tick_ms - oldest.sealed_tick_ms >= STUCK_MS


class Budget:
    """Decides about holds of one arena's partitions; ``held`` are those in force."""

    def __init__(self, buffer_bytes: int) -> None:
        self.held: set[Lane] = set()
        self._buffer_bytes = buffer_bytes

    def review(
        self, lanes: Iterable[Lane], level: float, connected: bool, tick_ms: int
    ) -> tuple[list[Lane], list[Lane]]:
        """``level``: share of the arena in use. Returns (lanes to hold now, lanes to release now)."""
        if level < RELIEVED_LEVEL or not connected:
            released = list(self.held)
            self.held.clear()
            return [], released
        released = [lane for lane in self.held if not self._deserves(lane, tick_ms)]
        self.held.difference_update(released)
        if level < SHORT_LEVEL:
            return [], released
        held = [lane for lane in lanes if lane not in self.held and self._deserves(lane, tick_ms)]
        self.held.update(held)
        return held, released

    def _deserves(self, lane: Lane, tick_ms: int) -> bool:
        if not lane.has_work:
            return False
        return lane.waiting_bytes > self._buffer_bytes * SHARE_MAX or is_sick(lane, tick_ms)
