"""A look at all that waits and at the way to the brokers, for those figures that nobody counts as it happens."""

from collections.abc import Mapping
from typing import Any, Final

from ingestd.figures import Count, Gauge
from ingestd.producer.accumulator import Accumulator
from ingestd.producer.attachment import Attachment
from ingestd.producer.compressor import Compressor
from ingestd.producer.dead_letters import DeadLetters
from ingestd.producer.meter import Meter
from ingestd.producer.network.brokers import Brokers

SURVEYED_LANES: Final = 2000
"""With so many partitions, what waits is added up every second time only, and so on."""


class Survey:
    """Writes gauges into the figures of ``meter``, and counts the letters there."""

    def __init__(
        self,
        meter: Meter,
        accumulator: Accumulator,
        attachments: Mapping[Any, Attachment],
        compressor: Compressor,
        brokers: Brokers,
        dead_letters: DeadLetters,
    ) -> None:
        self._meter = meter
        self._accumulator = accumulator
        self._attachments = attachments
        self._compressor = compressor
        self._brokers = brokers
        self._dead_letters = dead_letters
        self._letters_counted = (0, 0)
        """Letters written and lost that the figures have."""
        self._left = 0
        """Calls of ``take`` until what waits is added up again."""

    def take(self) -> None:
        """Brings the figures up to date. For once a second, before they are stored."""
        self._left -= 1
        if self._left <= 0:
            # A walk over ten thousand partitions is more than an idle second may cost.
            self._left = 1 + len(self._accumulator.lanes) // SURVEYED_LANES
            self._add_up_waiting()
        figures = self._meter.figures
        gauges = figures.gauges
        gauges[Gauge.REQUESTS_IN_FLIGHT] = self._brokers.in_flight
        gauges[Gauge.METADATA_TICK_MS] = max(self._brokers.cluster.last_success_ms, 0)
        figures.troubles = troubles = self._brokers.troubles()
        gauges[Gauge.BROKERS_UNREACHABLE] = len(troubles)
        gauges[Gauge.PARKED_BATCHES] = sum(each.parked for each in self._attachments.values())
        gauges[Gauge.HELD_PARTITIONS] = sum(len(each.budget.held) for each in self._attachments.values())
        self._count_letters()

    def _add_up_waiting(self) -> None:
        """What waits, by topic."""
        meter = self._meter
        meter.begin()
        for attachment in self._attachments.values():
            attachment.survey(meter)
        for lane in self._accumulator.working():
            if lane.has_work:
                meter.waits(lane.topic.name, lane.oldest_created_ms, lane.waiting_batches, lane.waiting_bytes)
        for job in self._compressor.jobs():
            counted = job.lane.has_work  # its bytes are among the lane's
            meter.waits(job.lane.topic.name, job.batch.created_ms, 1, 0 if counted else job.plain_bytes)

    def _count_letters(self) -> None:
        written, lost = self._letters_counted
        self._letters_counted = self._dead_letters.written, self._dead_letters.lost
        self._meter.add(Count.DEAD_LETTERS_WRITTEN, self._dead_letters.written - written)
        self._meter.add(Count.DEAD_LETTERS_LOST, self._dead_letters.lost - lost)
