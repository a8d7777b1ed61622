"""Hands the record path what the adaptive choice of partitions weighs, a few times a second while batches come."""

import asyncio
from array import array
from collections.abc import Callable
from typing import Final

from ingestd.config.model import Partitioning
from ingestd.config.partitioner import BUILT_IN, CRC32
from ingestd.hotpath.intake import Intake

TICK_SECONDS: Final = 0.1


class Weights:
    """``queue_lengths(topic name, partitioner.availability.timeout.ms)`` tells the batches that wait per partition, as
    ``Intake.weigh`` takes it."""

    def __init__(
        self,
        intake: Intake,
        queue_lengths: "Callable[[str, int], array[int] | None]",
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._intake = intake
        self._queue_lengths = queue_lengths
        self._loop = loop
        self._adaptive: list[tuple[int, str, int]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._sealed = False

    def add(self, index: int, name: str, partitioning: Partitioning) -> None:
        """A topic of the intake, by its index there; weighed if its partitioner is an adaptive one."""
        if partitioning.adaptive and partitioning.partitioner_class in (BUILT_IN, CRC32):
            self._adaptive.append((index, name, partitioning.availability_timeout_ms))

    def sealed(self) -> None:
        """Batches were sealed: queues change."""
        self._sealed = True
        if self._timer is None and self._adaptive:
            self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    def stop(self) -> None:
        """Nothing is weighed any more."""
        self._adaptive = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        """Topics that only ever had keys cost nothing; once nothing comes and nothing waits, it comes no more."""
        waiting = False
        for index, name, timeout_ms in self._adaptive:
            if self._intake.draws(index):
                lengths = self._queue_lengths(name, timeout_ms)
                self._intake.weigh(index, lengths)
                waiting = waiting or (lengths is not None and any(lengths))
        again = self._sealed or waiting
        self._sealed = False
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick) if again else None
