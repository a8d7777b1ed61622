"""The producer of one worker: sealed batches in, outcomes out. Everything runs on one event loop."""

import asyncio
import os
from array import array
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

from ingestd import __version__
from ingestd.config.model import Producer, Topic
from ingestd.errors import ClusterError
from ingestd.figures import Count, Figures
from ingestd.letters import Bounds
from ingestd.producer.accumulator import Accumulator
from ingestd.producer.attachment import Attachment
from ingestd.producer.budget import RELAXED_LEVEL
from ingestd.producer.common import Clock, SystemClock
from ingestd.producer.compression import PLAIN
from ingestd.producer.compressor import Compressor, Job
from ingestd.producer.dead_letters import UNBOUNDED, DeadLetters
from ingestd.producer.deadlines import Deadlines
from ingestd.producer.in_force import InForce
from ingestd.producer.lane_finder import LaneFinder
from ingestd.producer.lane_maker import LaneMaker
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import Item
from ingestd.producer.loads import queue_lengths
from ingestd.producer.meter import Meter
from ingestd.producer.network import cluster as metadata
from ingestd.producer.network.brokers import Brokers
from ingestd.producer.network.cluster import Cluster
from ingestd.producer.network.identity import Identity
from ingestd.producer.outcomes import DeliveryEvents, Outcomes
from ingestd.producer.sender import Sender
from ingestd.producer.shares import CROWD, Shares
from ingestd.producer.survey import Survey
from ingestd.producer.takeover import Takeover

HOUSEKEEPING_MS: Final = 1000
FLUSH_POLL_MS: Final = 10
VIEWS_WAIT_MS: Final = 1000


class BatchProducer:
    """``topics``: every configured topic; what it leaves open is inherited from ``settings``.

    It begins to look for the cluster in the loop's next iteration; arenas attached before that are drained first.

    ``partitions_changed(name, topic_id, leaders)`` tells of partition counts and leaders: one byte per partition, 1 =
    has a leader; empty while the cluster denies the topic. It is called for every change of what metadata says.
    ``state_directory`` None: no dead letters are kept, else within ``letters_bounds``. ``on_data_loss(text)``: Kafka
    seems to have lost what it had acknowledged, which is logged and counted already. ``figures``: what is counted goes
    there.
    ``relieved()``: batches that were left to grow may be due now, see ``Intake.seal_due``; None: none is left to grow.
    ``on_fault(context)`` hears of faults of our own, else the loop's exception handler: nothing goes on behind one.
    ``expires_attempted``: delivery.timeout.ms ends batches that were sent, too, and a refusal that is not retriable
    ends them soon, as Kafka's producer does it.
    """

    def __init__(
        self,
        settings: Producer,
        topics: Sequence[Topic],
        partitions_changed: Callable[[str, bytes, bytes], None],
        events: DeliveryEvents,
        loop: asyncio.AbstractEventLoop,
        client_id: str,
        *,
        state_directory: Path | None = None,
        listeners: Sequence[str] = (),
        letters_bounds: Bounds = UNBOUNDED,
        on_data_loss: Callable[[str], object] | None = None,
        figures: Figures | None = None,
        clock: Clock | None = None,
        seed: int | None = None,
        on_fault: Callable[[dict[str, Any]], object] | None = None,
        expires_attempted: bool = False,
        relieved: Callable[[], None] | None = None,
    ) -> None:
        self.meter = Meter(figures or Figures([topic.name for topic in topics]))
        self._idempotent = settings.enable_idempotence
        self._partitions_changed = partitions_changed
        self._loop = loop
        self._on_fault = on_fault or loop.call_exception_handler
        self._clock = clock = clock or SystemClock()
        random = Random(seed)  # noqa: S311 (jitter)
        self._attachments: dict[Any, Attachment] = {}
        self._waiting = False
        """Some attachment has batches that enter their lanes once the cluster is known."""
        self._shares = Shares(self._attachments, relieved, events.on_freed, loop)
        self._in_force = InForce(settings, topics)
        self._accumulator = Accumulator(settings.max_request_size)
        self.dead_letters = DeadLetters(state_directory, listeners, letters_bounds)
        threads = len(os.sched_getaffinity(0))
        self._compressor = Compressor(loop, self._compressed, events.on_freed, self._on_fault, threads)
        codec_of = self._in_force.codec_of
        outcomes = Outcomes(events, self.dead_letters, clock, self.meter, self._shrink, codec_of, on_data_loss)
        self._sender = Sender(settings, self._accumulator, outcomes, events, self.meter, loop, clock)
        self._sender.relieve = self._shares.relieve
        self._cluster = Cluster(
            [topic.name for topic in topics],
            settings.metadata_max_age_ms,
            settings.metadata_max_idle_ms,
            settings.retry_backoff_ms,
            settings.retry_backoff_max_ms,
            random,
        )
        self._cluster_id = ""
        """The cluster that this process writes to."""
        self._brokers = Brokers(
            self._cluster, settings, self._sender, self._updated, loop, clock, random, client_id, __version__
        )
        self._identity = Identity(self._brokers.find, self._sender.granted, settings.retry_backoff_ms, random)
        self._sender.start(self._brokers, self._identity)
        maker = LaneMaker(settings, self._identity, self.meter.figures, random, expires_attempted=expires_attempted)
        self._finder = LaneFinder(maker.make, self._in_force, self._brokers, self._sender)
        self._takeover = Takeover(
            self._cluster, self._in_force, self._finder, self._compressor, self._sender, self.meter, clock
        )
        denied_ms = settings.topic_denied_timeout_ms
        self._deadlines = Deadlines(
            denied_ms, self._in_force, self._brokers, self._sender, self._identity, final=expires_attempted
        )
        self._survey = Survey(
            self.meter, self._accumulator, self._attachments, self._compressor, self._brokers, self.dead_letters
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        loop.call_soon(self._start)

    def _start(self) -> None:
        self._spawn(self._brokers.run())
        if self._idempotent:
            self._identity.want()
            self._spawn(self._identity.run())
        self._loop.call_later(HOUSEKEEPING_MS / 1000, self._housekeeping)

    # -- the owner's calls

    def add_topic(self, topic: Topic) -> None:
        """One that was not among ``topics``: metadata is asked for it. For one that is known: it is asked for anew."""
        self._in_force.add(topic)
        self._cluster.add(topic.name)
        self._brokers.refresh()

    def use_topic(self, name: str) -> None:
        """Somebody asks about a topic, which has no batch for that: what is known of it is kept up to date."""
        topic = self._cluster.topics.get(name)
        if topic is not None:
            self._brokers.used(topic)

    def attach(self, arena: Any, intake: Any = None) -> None:
        """An arena to drain; what it holds from before goes first in its partitions, in the order of attaching."""
        attachment = self._attachments[arena] = Attachment(arena, intake)
        for batch in arena.recovered():
            attachment.wait(batch)
        self._waiting = self._waiting or bool(attachment.waiting)
        self._release()

    def detach(self, arena: Any) -> None:
        """A drained arena is about to be closed."""
        self._attachments.pop(arena)

    def drained(self, arena: Any) -> bool:
        """Nothing of ``arena`` waits or is in flight here."""
        attachment = self._attachments[arena]
        return (
            not attachment.waiting
            and not attachment.parked
            and not any(job.arena is arena for job in self._compressor.jobs())
            and not any(
                item.arena is arena for lane in attachment.keys if lane.has_work for item in (*lane.window, *lane.queue)
            )
        )

    def sealed(self, arena: Any, batches: Sequence[Any]) -> None:
        """Batches that ``arena.take_sealed()`` gave, in that order."""
        attachment = self._attachments[arena]
        now_ms, tick_ms = self._clock.now_ms(), self._clock.tick_ms()
        ready = []
        for batch in batches:
            lane, codec = attachment.lanes.get((batch.topic, batch.partition)) or self._finder.find(attachment, batch)
            if codec is PLAIN:
                ready.append((lane, batch, batch.size_bytes))
            else:
                self._compressor.put(Job(lane, arena, batch, codec, now_ms, tick_ms))
        self._go_on(attachment, ready, now_ms, tick_ms)
        if arena.level >= RELAXED_LEVEL:
            self._shares.look()

    def _compressed(self, job: Job) -> None:
        if job.item is not None:
            self._takeover.enter(job.item, job)
            return
        self._go_on(self._attachments[job.arena], [(job.lane, job.batch, job.plain_bytes)], job.now_ms, job.tick_ms)

    def _go_on(
        self, attachment: Attachment, batches: Sequence[tuple[Lane, Any, int]], now_ms: int, tick_ms: int
    ) -> None:
        """Batches sealed at ``now_ms`` (wall clock) and ``tick_ms`` (monotonic) are ready, each with its lane and its
        size when it was sealed."""
        self.meter.sealed(batches, now_ms)
        if self._waiting:
            # The cluster is not known yet: what was there before goes first, whichever arena it is in.
            for _, batch, _ in batches:
                attachment.wait(batch)
            return
        arena, elsewhere = attachment.arena, attachment.elsewhere
        for lane, batch, _ in batches:
            lane.enqueue(Item(arena, batch, tick_ms, elsewhere))
            topic = lane.topic
            topic.used_ms = tick_ms
            if topic.idle:
                self._brokers.used(topic)
            if not lane.queued:
                self._sender.wake(lane)
            if len(lane.queue) >= CROWD and not lane.crowded:
                self._shares.crowd(attachment, lane)

    def wake(self) -> None:
        """Looks again at everything that waits (after a pause of the process, say)."""
        for lane in self._accumulator.working():
            if lane.has_work:
                self._sender.wake(lane)

    async def close(self, timeout_ms: int) -> bool:
        """Sends what is sealed, for at most ``timeout_ms``; then closes the connections.

        True: nothing is left. What is left stays in the arenas as it is.
        """
        deadline_ms = self._clock.tick_ms() + timeout_ms
        while not self._flushed and self._clock.tick_ms() < deadline_ms:  # noqa: ASYNC110 (many events do that)
            await asyncio.sleep(FLUSH_POLL_MS / 1000)
        done = self._flushed
        self._closing = True
        self._shares.close()
        self._sender.stop()
        await self._compressor.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._brokers.close()
        # Transports let go of their buffers in their own time, and an arena with views cannot be closed.
        while self._views_held and self._clock.tick_ms() < deadline_ms + VIEWS_WAIT_MS:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(FLUSH_POLL_MS / 1000)
        return done

    @property
    def _flushed(self) -> bool:
        """Without answers (acks = 0), what waits in this process counts as delivered: the kernel must have it."""
        return self.idle and self._brokers.drained

    @property
    def _views_held(self) -> bool:
        return not self._brokers.disconnected or any(
            item.arena.view_count(item.batch.entry) for lane in self._accumulator.working() for item in lane.window
        )

    # -- what the owner shows

    def topic(self, name: str) -> metadata.Topic | None:
        """What metadata says of a topic."""
        return self._cluster.topics.get(name)

    @property
    def nodes(self) -> dict[int, tuple[str, int]]:
        """The cluster's brokers: host and port by node."""
        return self._cluster.brokers

    @property
    def idle(self) -> bool:
        """Nothing waits, nothing is in flight."""
        return not (
            self._compressor.busy
            or self._sender.busy
            or self._waiting
            or any(lane.has_work for lane in self._accumulator.working())
        )

    def queue_lengths(self, topic: str, timeout_ms: int) -> "array[int] | None":
        """Batches that wait per partition of ``topic``; see ``loads``."""
        return queue_lengths(self._accumulator.lanes, self._cluster.topics[topic], timeout_ms, self._clock.tick_ms())

    @property
    def brokers_connected(self) -> int:
        return self._brokers.reachable

    @property
    def trouble(self) -> str:
        """Why some broker could not be reached, as people read it; empty: nothing is known."""
        return self._brokers.trouble

    @property
    def holds_back(self) -> bool:
        """Some partition is held back so that the others keep room in the arena."""
        return any(attachment.budget.held for attachment in self._attachments.values())

    @property
    def in_doubt_batches(self) -> int:
        """Batches sent whose outcome is not known, those in flight included."""
        return sum(item.flying or item.in_doubt for lane in self._accumulator.working() for item in lane.window)

    @property
    def parked(self) -> int:
        """Stamped batches that belong to another cluster."""
        return sum(attachment.parked for attachment in self._attachments.values())

    def survey(self) -> None:
        """Brings the gauges among the figures up to date. For once a second, before they are stored."""
        self._survey.take()

    # -- inside

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            # our own fault: the worker must not go on half alive
            self._on_fault({"message": "a task of the producer has ended", "exception": task.exception(), "task": task})

    def _updated(self, changed: Sequence[metadata.Topic]) -> None:
        """New metadata."""
        self.meter.add(Count.METADATA_ANSWERS)
        self._keep_to_cluster()
        self._release()
        for topic in changed:
            self._partitions_changed(topic.name, topic.topic_id, topic.leader_bytes if topic.code == 0 else b"")
        # Every lane is looked at: a broker's address may have changed without any leader's change.
        self._sender.relocate(self._cluster.topics.values())

    def _release(self) -> None:
        """Once it is known which cluster this is, nothing has to wait for that.

        Only an answer tells: bootstrap that begins again before there was one is news without it. The id may be empty
        even then, with a cluster that does not say it.
        """
        if self._cluster.last_success_ms >= 0:
            self._waiting = False
            self._takeover.release(self._attachments.values())

    def _keep_to_cluster(self) -> None:
        """Producer id, connections and batches under way belong to the cluster that was found first.

        ClusterError: another one answers now. This process ends with that; its successor sorts the arenas.
        """
        cluster_id = self._cluster.cluster_id
        if self._cluster_id not in ("", cluster_id):
            self._sender.stop()
            raise ClusterError(
                f"the cluster was {self._cluster_id} and is {cluster_id} now: this producer ends, a new one can go on"
            )
        self._cluster_id = cluster_id

    def _shrink(self, lane: Lane, arena: Any, batch_bytes: int) -> None:
        self._attachments[arena].shrink(lane, batch_bytes)

    # -- once a second

    def _housekeeping(self) -> None:
        if self._closing:
            return
        self._loop.call_later(HOUSEKEEPING_MS / 1000, self._housekeeping)
        self._brokers.look_for_silence()
        self._brokers.look_for_ways()
        self.meter.figures.fold()
        tick_ms = self._clock.tick_ms()
        # A list: what is given up makes room, and that may be for the first batch of another partition.
        for lane in self._accumulator.working():
            if lane.crowded and (not lane.queue or self._in_force.timeout_ms(lane) is not None):
                # Where records may expire, none of them waits in an open batch for long: their time runs from sealing.
                self._shares.relieve(lane)
            if lane.has_work:
                lane.topic.used_ms = tick_ms
                self._sender.let_go(lane, tick_ms)
                if not lane.held:
                    self._deadlines.give_up(lane, tick_ms)
