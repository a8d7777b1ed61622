"""What the parts of the producer share: clocks and the log."""

import logging
import time
from typing import Protocol

log = logging.getLogger("ingestd.producer")


class Clock(Protocol):
    """Where loops read the time."""

    def now_ms(self) -> int:
        """Wall clock, ms since 1970."""

    def tick_ms(self) -> int:
        """Monotonic, ms."""


class SystemClock:
    """The host's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def tick_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000
