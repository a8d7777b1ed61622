"""Who may go on filling the arena: what cannot get out must not take the room of what can.

Pure. A *share* is what the batches of one partition, of one topic, or of the partitions that one broker leads take of
the arena. A share may be as large as what is free: alone it ends at a half, two of them at a third each, and nobody has
to find out whether a broker is dead, slow or only busy. In an arena that is full it may have what falls to each if all
of its kind had the same. Beyond that no new batch is opened for its partitions, as long as somebody gains by it:
another share of its kind within its bound, with a broker that is connected. With Kafka away as a whole, or busy as a
whole, all of the arena is used.
"""

from collections.abc import Hashable, Iterable
from typing import Any, Final

from ingestd.limits import PAGE_BYTES
from ingestd.producer.lanes.delivery import Lane

RELAXED_LEVEL: Final = 0.3
"""Below this level of the arena nobody is held, and nobody is looked at."""
RELEASE_SHARE: Final = 0.8
"""Who is held is released below this share of its bound."""
PART_MIN: Final = 1 / 8
"""Of the arena: a partition or a topic may have so much however many there are, or its batches would be too small."""


_LEAST: Final = (PART_MIN, PART_MIN, 0.0)
"""As a partition, of its topic, of its broker."""


def room_bytes(lane: Lane) -> int:
    """What the batches of ``lane`` take of the arena, at most: each has whole pages."""
    return lane.waiting_bytes + PAGE_BYTES * (len(lane.window) + len(lane.queue))


class _Shares:
    """The shares of one kind: their sizes, and which of them could use room that others give up."""

    def __init__(self) -> None:
        self.bytes: dict[Hashable, int] = {}
        self.ready: set[Hashable] = set()

    def add(self, share: Hashable, size_bytes: int, ready: bool) -> None:
        self.bytes[share] = self.bytes.get(share, 0) + size_bytes
        if ready:
            self.ready.add(share)

    def over(self, free_bytes: float, part_bytes: float, scale: float) -> set[Hashable]:
        """Those above ``scale`` times the bound; none where nobody would gain."""
        bound_bytes = scale * max(free_bytes, part_bytes)
        over = {share for share, size in self.bytes.items() if size > bound_bytes}
        return over if self.ready - over else set()


class Budget:
    """Decides about holds of one arena's partitions; ``held`` are those in force."""

    def __init__(self, buffer_bytes: int) -> None:
        self.held: set[Lane] = set()
        self._buffer_bytes = buffer_bytes

    def review(self, lanes: Iterable[Lane], level: float) -> tuple[list[Lane], list[Lane]]:
        """``level``: share of the arena in use. Returns (lanes to hold now, lanes to release now)."""
        if level < RELAXED_LEVEL:
            released = list(self.held)
            self.held.clear()
            return [], released
        free_bytes = (1 - level) * self._buffer_bytes
        rows, kinds = self._measured(lanes)
        if not rows:
            return [], []
        parts = [
            self._buffer_bytes * max(1 / len(kind.bytes), least) for kind, least in zip(kinds, _LEAST, strict=True)
        ]
        over = [kind.over(free_bytes, part, 1) for kind, part in zip(kinds, parts, strict=True)]
        near = [kind.over(free_bytes, part, RELEASE_SHARE) for kind, part in zip(kinds, parts, strict=True)]
        held, released = [], []
        for lane, shares in rows:
            if lane in self.held:
                if not any(share in found for share, found in zip(shares, near, strict=True)):
                    released.append(lane)
            elif any(share in found for share, found in zip(shares, over, strict=True)):
                held.append(lane)
        self.held.difference_update(released)
        self.held.update(held)
        return held, released

    @staticmethod
    def _measured(lanes: Iterable[Lane]) -> tuple[list[tuple[Lane, tuple[Any, ...]]], tuple[_Shares, ...]]:
        """Each lane with its shares (as a partition, of its topic, of its broker), and the shares of each kind."""
        kinds = (_Shares(), _Shares(), _Shares())
        rows = []
        for lane in lanes:
            size_bytes = room_bytes(lane)
            ready = lane.route is not None and lane.route.is_ready
            shares = (lane, lane.topic, lane.route)
            for kind, share in zip(kinds, shares, strict=True):
                kind.add(share, size_bytes, ready)
            rows.append((lane, shares))
        return rows, kinds
