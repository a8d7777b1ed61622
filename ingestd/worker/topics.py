"""The topics of a worker: what the cluster says about them, and how long senders wait for it to say anything."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from ingestd.config.model import Config
from ingestd.hotpath.arena import Arena
from ingestd.hotpath.intake import Intake
from ingestd.listeners.room import Room
from ingestd.worker.first_counts import FirstCounts
from ingestd.worker.partitioners import Partitioners

logger = logging.getLogger(__name__)

_NO_ID: Final = bytes(16)
_LEADER: Final = b"\x01"


class Topics:
    """Indexes are rows of the own arena's topic table."""

    def __init__(
        self,
        config: Config,
        arena: Arena,
        intake: Intake,
        loop: asyncio.AbstractEventLoop,
        partitioners: Partitioners,
    ) -> None:
        self._arena = arena
        self._intake = intake
        self._loop = loop
        self._max_block_seconds = config.producer.max_block_ms / 1000
        self._waits: dict[int, asyncio.TimerHandle] = {}
        self._refused: set[int] = set()
        self.first_counts = FirstCounts(self._max_block_seconds, loop)
        self.room: Room | None = None
        self.index = {topic.name: arena.topic_add(topic.name) for topic in config.topics}
        lingers_ms = [config.topic_settings(topic).linger_ms for topic in config.topics]
        self.linger_ms_min, self.linger_ms_max = min(lingers_ms, default=0), max(lingers_ms, default=0)
        self.compressed = any(config.topic_settings(topic).compression_type != "none" for topic in config.topics)
        """Some topic's batches are compressed here."""
        known = {row.index: row.partition_count for row in arena.topics()}
        for topic in config.topics:
            settings = config.topic_settings(topic)
            index = self.index[topic.name]
            intake.add_topic(
                index,
                batch_bytes=settings.batch_size,
                linger_ms=settings.linger_ms,
                record_bytes_max=config.producer.max_request_size,
                partitioner=partitioners.by_topic[topic.name],
            )
            # What an earlier run has learned, or the configuration says, lets records in while Kafka is away.
            count = known.get(index) or topic.partitions or 0
            if count:
                self.first_counts.known(index)
                intake.set_partitions(index, _LEADER * count)

    def changed(self, name: str, topic_id: bytes, leaders: Sequence[int] | bytes) -> None:
        """Metadata of a topic: one byte per partition, 1 where it has a leader; empty: the cluster does not have it."""
        index = self.index.get(name)
        if index is None or not leaders:
            return
        row = next(row for row in self._arena.topics() if row.index == index)
        if (row.topic_id, row.partition_count) != (topic_id, len(leaders)):
            self._arena.topic_update(index, topic_id or _NO_ID, len(leaders))
        self._intake.set_partitions(index, bytes(leaders))
        self.first_counts.known(index)
        if index in self._refused:
            self._refused.discard(index)
            self._intake.set_topic_refused(index, False)
        timer = self._waits.pop(index, None)
        if timer is not None:
            timer.cancel()
        if self.room is not None:
            self.room.topic_settled(index)

    def wanted(self, index: int) -> None:
        """A stream waits for this topic: max.block.ms from the first such wait on, then its records are refused."""
        if index not in self._waits:
            logger.info(
                "the partition count of topic %s is not known: streams wait for it, %g s at most (max.block.ms)",
                self._name(index),
                self._max_block_seconds,
            )
            self._waits[index] = self._loop.call_later(self._max_block_seconds, self._refuse, index)

    def _refuse(self, index: int) -> None:
        self._waits.pop(index, None)
        logger.warning(
            "topic %s was not shown within max.block.ms: until it is, its records are refused as topic_unknown",
            self._name(index),
        )
        self._refused.add(index)
        self._intake.set_topic_refused(index, True)
        if self.room is not None:
            self.room.topic_settled(index)

    def _name(self, index: int) -> str:
        return next(name for name, known in self.index.items() if known == index)

    def close(self) -> None:
        for timer in self._waits.values():
            timer.cancel()
        self._waits.clear()
        self.first_counts.close()
