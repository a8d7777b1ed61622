"""Taking over what dead processes left in the arenas: into the lanes it goes, or it stays for another cluster.

Numbers mean nothing in another cluster (docs/kafka.md 8), so nothing of it moves before the cluster's id is known. The
order in which it goes out again is made in lanes/recovery.py.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from ingestd.figures import Count
from ingestd.log import counted
from ingestd.producer.attachment import Attachment
from ingestd.producer.common import Clock, log
from ingestd.producer.compression import PLAIN
from ingestd.producer.compressor import Compressor, Job
from ingestd.producer.in_force import InForce
from ingestd.producer.lane_finder import LaneFinder
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import Item, recovered_item
from ingestd.producer.lanes.recovery import joined, plan
from ingestd.producer.meter import Meter
from ingestd.producer.network.cluster import Cluster
from ingestd.producer.sender import Sender


class Takeover:
    """What ``compressor`` gives back with an item is to be given to ``enter``."""

    def __init__(
        self,
        cluster: Cluster,
        in_force: InForce,
        finder: LaneFinder,
        compressor: Compressor,
        sender: Sender,
        meter: Meter,
        clock: Clock,
    ) -> None:
        self._cluster = cluster
        self._in_force = in_force
        self._finder = finder
        self._compressor = compressor
        self._sender = sender
        self._meter = meter
        self._clock = clock

    def release(self, attachments: Iterable[Attachment]) -> None:
        """What waits there enters its lanes, now that it is known which cluster this is."""
        partitions: dict[Lane, list[list[Item]]] = {}
        for attachment in attachments:
            waiting = attachment.take_waiting()
            self._compare_cluster(attachment, waiting)
            for lane, items in self._recovered(attachment, waiting).items():
                partitions.setdefault(lane, []).append(items)
        for lane, arenas in partitions.items():
            runs, sealed = plan(joined(arenas))
            for run in runs:
                lane.add_run(*run)
            self._compress(lane, sealed)
            self._sender.wake(lane)

    def enter(self, item: Item, job: Job) -> None:
        """``item`` is compressed: it enters its lane."""
        item.batch = job.batch
        item.size_bytes = job.batch.size_bytes
        job.lane.enqueue(item)
        self._sender.wake(job.lane)

    def _compress(self, lane: Lane, sealed: Sequence[Item]) -> None:
        """What a dead process had sealed and never sent enters its lane as its topic's codec makes it."""
        now_ms, tick_ms = self._clock.now_ms(), self._clock.tick_ms()
        # What was sealed here meanwhile, and is being compressed, comes behind it.
        codec = PLAIN if self._compressor.holds(lane) else self._in_force.codec(lane.topic.name)
        for item in sealed:
            if codec is PLAIN:
                lane.enqueue(item)
                continue
            job = Job(lane, item.arena, item.batch, codec, now_ms, tick_ms)
            job.item = item
            self._compressor.put(job)

    def _recovered(self, attachment: Attachment, waiting: Sequence[Any]) -> dict[Lane, list[Item]]:
        """The batches as items by lane, except those that are left in the arena."""
        tick_ms = self._clock.tick_ms()
        partitions: dict[Lane, list[Item]] = {}
        for batch in waiting:
            lane, _ = attachment.lanes.get((batch.topic, batch.partition)) or self._finder.find(attachment, batch)
            item = recovered_item(attachment.arena, batch, tick_ms)
            if not item.is_numbered:
                item.elsewhere = attachment.elsewhere
            elif item.elsewhere != attachment.elsewhere:
                attachment.parked += 1
                continue
            if item.recovered:
                self._meter.add(Count.RECOVERED_IN_DOUBT)
            partitions.setdefault(lane, []).append(item)
        if waiting and attachment.parked:
            log.error(
                "sent before to another cluster than %s, and staying in the arena until that one is back: %s",
                self._cluster.cluster_id,
                counted(attachment.parked, "batch", "batches"),
            )
        return partitions

    def _compare_cluster(self, attachment: Attachment, waiting: Sequence[Any]) -> None:
        """What has numbers of another cluster is not sent to this one; without any, the arena becomes this one's."""
        arena, cluster_id = attachment.arena, self._cluster.cluster_id
        if not cluster_id or arena.cluster_id == cluster_id or attachment.elsewhere:
            return
        if not arena.cluster_id or not any(recovered_item(arena, batch, 0).is_numbered for batch in waiting):
            arena.set_cluster_id(cluster_id)
        else:
            attachment.elsewhere = True
