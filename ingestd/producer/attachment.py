"""An arena as the producer sees it: which of its batches go where, and what of it waits for the cluster to be known."""

from contextlib import suppress
from typing import Any

from ingestd.producer.budget import Budget
from ingestd.producer.common import log
from ingestd.producer.compression import Codec
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.meter import Meter


class Attachment:
    """An arena that is drained here; ``intake`` None: nothing new comes into it."""

    def __init__(self, arena: Any, intake: Any) -> None:
        self.arena = arena
        self.intake = intake
        self._topic_names: dict[int, str] = {}
        self._read_topics()
        self.lanes: dict[tuple[int, int], tuple[Lane, Codec]] = {}
        """(topic index, partition) → (lane, codec)."""
        self.keys: dict[Lane, tuple[int, int]] = {}
        self.budget = Budget(arena.buffer_bytes)
        self.level = 0.0
        """The arena's, when shares were last looked at."""
        self.waiting: list[Any] = []
        """Batches that enter their lanes once the cluster's id is known."""
        self._waiting_of: dict[int, list[int]] = {}
        self.elsewhere = False
        """The cluster is another one than the arena's header names."""
        self.parked = 0
        """Stamped batches of another cluster: not sent, left in the arena."""

    def topic_name(self, index: int) -> str:
        """The arena gains topics while it is attached."""
        if index not in self._topic_names:
            self._read_topics()
        return self._topic_names[index]

    def _read_topics(self) -> None:
        self._topic_names = {topic.index: topic.name for topic in self.arena.topics()}

    def remember(self, key: tuple[int, int], lane: Lane, codec: Codec) -> None:
        """Batches with ``key``, a (topic index, partition) of this arena, go to ``lane``."""
        self.lanes[key] = (lane, codec)
        self.keys[lane] = key

    def shrink(self, lane: Lane, batch_bytes: int) -> None:
        """Batches of ``batch_bytes`` may fit where one of twice as much did not: this process fills no larger ones."""
        if self.intake is None:
            return
        topic, _ = self.keys[lane]
        # A topic that is left of another configuration is not known to the intake: nothing fills batches of it.
        with suppress(ValueError):
            if self.intake.shrink_batches(topic, batch_bytes):
                log.warning(
                    "%s: batch.size is %d for this topic until the next start; lower it in the configuration, or raise"
                    " the topic's max.message.bytes",
                    lane.topic.name,
                    batch_bytes,
                )

    def wait(self, batch: Any) -> None:
        self.waiting.append(batch)
        found = self._waiting_of.setdefault(batch.topic, [batch.created_ms, 0, 0])
        found[0] = min(found[0], batch.created_ms)
        found[1] += 1
        found[2] += batch.size_bytes

    def take_waiting(self) -> list[Any]:
        """All that waits; from here on nothing does."""
        waiting, self.waiting = self.waiting, []
        self._waiting_of.clear()
        return waiting

    def survey(self, meter: Meter) -> None:
        """What waits here, by topic."""
        for topic, found in self._waiting_of.items():
            meter.waits(self._topic_names.get(topic, ""), *found)
