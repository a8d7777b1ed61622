"""From arena level and host memory to what the listeners are asked to do. Pure, with hysteresis.

PAUSE: listeners that may block are not read, so that what is left belongs to those that may not. SHED: the others
refuse the newest records as well. Each step has its own threshold, and one threshold, lower, ends both.
"""

from dataclasses import dataclass
from typing import Final

from ingestd.scoreboard import Pressure

SHED_SHARE: Final = 0.5
"""SHED begins this far on the way from the PAUSE threshold to full."""


@dataclass(frozen=True)
class Thresholds:
    """``high``: share in use above which listeners pause; ``low``: share below which they run again (0..1)."""

    high: float
    low: float

    @property
    def shed(self) -> float:
        return self.high + (1.0 - self.high) * SHED_SHARE


def next_pressure(now: Pressure, level: float, thresholds: Thresholds) -> Pressure:
    """The pressure after ``level`` (share in use, 0..1) was seen under pressure ``now``."""
    if level >= thresholds.shed:
        return Pressure.SHED
    if level >= thresholds.high:
        return max(now, Pressure.PAUSE)
    if level < thresholds.low:
        return Pressure.RUN
    # Between the thresholds what was decided stays, but what must not be lost any more is taken in again.
    return Pressure.PAUSE if now is Pressure.SHED else now


def arena_level(free_pages: int, total_pages: int) -> float:
    """Share of the arena's pages in use; 0 before the worker has published any."""
    return 1.0 - free_pages / total_pages if total_pages else 0.0


def memory_level(available_bytes: int, total_bytes: int, limit_bytes: int, used_bytes: int) -> float:
    """Share of memory that is gone: the host's, or that of our own memory control group if that is nearer to its end.

    ``limit_bytes`` 0: the control group has no limit of its own.
    """
    host = 1.0 - available_bytes / total_bytes if total_bytes else 0.0
    group = used_bytes / limit_bytes if limit_bytes else 0.0
    return max(host, group)
