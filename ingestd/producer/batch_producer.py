"""The producer of one worker: sealed batches in, outcomes out. Everything runs on one event loop."""

import asyncio
import os
from array import array
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import ingestd
from ingestd.config.model import Producer, Topic, topic_settings
from ingestd.errors import ClusterError
from ingestd.figures import Count, Figures, Gauge
from ingestd.kafka.errors import LEADER_NOT_AVAILABLE, NETWORK_EXCEPTION
from ingestd.letters import Bounds
from ingestd.log import counted
from ingestd.producer import cluster as metadata
from ingestd.producer.accumulator import Accumulator
from ingestd.producer.attachment import Attachment
from ingestd.producer.backoff import Backoff
from ingestd.producer.broker import Broker
from ingestd.producer.brokers import Brokers
from ingestd.producer.budget import RELAXED_LEVEL
from ingestd.producer.cluster import Cluster
from ingestd.producer.common import Clock, SystemClock, log
from ingestd.producer.compression import CODECS, PLAIN, Codec
from ingestd.producer.compressor import Compressor, Job
from ingestd.producer.dead_letters import UNBOUNDED, DeadLetters
from ingestd.producer.delivery import Lane
from ingestd.producer.identity import Identity
from ingestd.producer.item import Item, recovered_item
from ingestd.producer.loads import queue_lengths
from ingestd.producer.meter import Meter
from ingestd.producer.outcomes import DeliveryEvents, Outcomes
from ingestd.producer.recovery import joined, plan
from ingestd.producer.sender import Sender
from ingestd.producer.shares import CROWD, Shares

HOUSEKEEPING_MS: Final = 1000
FLUSH_POLL_MS: Final = 10
VIEWS_WAIT_MS: Final = 1000
SURVEYED_LANES: Final = 2000
"""With so many partitions, what waits is added up every second second only, and so on."""


class InForce(NamedTuple):
    """What the producer itself needs to know of a topic. ``delivery_timeout_ms`` None: never."""

    codec: Codec
    delivery_timeout_ms: int | None


def _in_force(topic: Topic, settings: Producer) -> InForce:
    found = topic_settings(topic, settings)
    number = CODECS[found.compression_type]
    codec = Codec(number, found.compression_level) if number else PLAIN
    return InForce(codec, found.delivery_timeout_ms)


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
    ``expires_attempted``: delivery.timeout.ms ends batches that were sent, too, as Kafka's producer does it.
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
        self._settings = settings
        self._expires_attempted = expires_attempted
        self._topics = {topic.name: _in_force(topic, settings) for topic in topics}
        self._partitions_changed = partitions_changed
        self._loop = loop
        self._on_fault = on_fault or loop.call_exception_handler
        self._clock = clock or SystemClock()
        random = Random(seed)  # noqa: S311 (jitter)
        # One method for all lanes: made anew for each, it would be a fair part of what a lane takes.
        self._delay_ms = Backoff(settings.retry_backoff_ms, settings.retry_backoff_max_ms, random).delay_ms
        self._attachments: dict[Any, Attachment] = {}
        self._waiting = False
        """Some attachment has batches that enter their lanes once the cluster is known."""
        self._shares = Shares(self._attachments, relieved, events.on_freed, loop, self._clock)
        self._accumulator = Accumulator(self._make_lane, settings.max_request_size)
        self.dead_letters = DeadLetters(state_directory, listeners, letters_bounds)
        self._letters_counted = (0, 0)
        self._surveys_left = 0
        threads = len(os.sched_getaffinity(0))
        self._compressor = Compressor(loop, self._compressed, events.on_freed, self._on_fault, threads)
        outcomes = Outcomes(events, self.dead_letters, self._clock, self.meter, self._shrink, self._codec, on_data_loss)
        self._sender = Sender(settings, self._accumulator, outcomes, events, self.meter, loop, self._clock)
        self._sender.relieve = self._shares.relieve
        self._cluster = Cluster(
            self._topics,
            settings.metadata_max_age_ms,
            settings.metadata_max_idle_ms,
            settings.retry_backoff_ms,
            settings.retry_backoff_max_ms,
            random,
        )
        self._brokers = Brokers(
            self._cluster,
            settings,
            self._sender,
            self._updated,
            loop,
            self._clock,
            random,
            client_id,
            ingestd.__version__,
        )
        self._cluster_id = ""
        """The cluster that this process writes to."""
        self._identity = Identity(self._brokers.find, self._sender.granted, settings.retry_backoff_ms, random)
        self._sender.start(self._brokers, self._identity)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        loop.call_soon(self._start)

    def _start(self) -> None:
        self._spawn(self._brokers.run())
        if self._settings.enable_idempotence:
            self._identity.want()
            self._spawn(self._identity.run())
        self._loop.call_later(HOUSEKEEPING_MS / 1000, self._housekeeping)

    # -- the owner's calls

    def add_topic(self, topic: Topic) -> None:
        """One that was not among ``topics``: metadata is asked for it. For one that is known: it is asked for anew."""
        self._topics[topic.name] = _in_force(topic, self._settings)
        self._cluster.add(topic.name)
        self._brokers.refresh()

    def attach(self, arena: Any, intake: Any = None) -> None:
        """An arena to drain; what it holds from before goes first in its partitions, in the order of attaching."""
        attachment = Attachment(arena, intake)
        for topic in arena.topics():
            attachment.topic_names[topic.index] = topic.name
        self._attachments[arena] = attachment
        for batch in arena.recovered():
            attachment.wait(batch)
        self._waiting = self._waiting or bool(attachment.waiting)
        if self._cluster.cluster_id:
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
            lane, codec = attachment.lanes.get((batch.topic, batch.partition)) or self._find(attachment, batch)
            if codec is PLAIN:
                ready.append((lane, batch, batch.size_bytes))
            else:
                self._compressor.put(Job(lane, arena, batch, codec, now_ms, tick_ms))
        self._go_on(attachment, ready, now_ms, tick_ms)
        if arena.level >= RELAXED_LEVEL:
            self._shares.look()

    def _compressed(self, job: Job) -> None:
        if job.item is not None:
            self._enter(job.item, job)
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
        meter = self.meter
        self._surveys_left -= 1
        if self._surveys_left <= 0:
            # A walk over ten thousand partitions is more than an idle second may cost.
            self._surveys_left = 1 + len(self._accumulator.lanes) // SURVEYED_LANES
            self._survey_waiting()
        gauges, counts = meter.figures.gauges, meter.figures.counts
        gauges[Gauge.REQUESTS_IN_FLIGHT] = self._brokers.in_flight
        gauges[Gauge.METADATA_TICK_MS] = max(self._cluster.last_success_ms, 0)
        gauges[Gauge.PARKED_BATCHES] = self.parked
        meter.figures.troubles = troubles = self._brokers.troubles()
        gauges[Gauge.BROKERS_UNREACHABLE] = len(troubles)
        gauges[Gauge.HELD_PARTITIONS] = sum(len(each.budget.held) for each in self._attachments.values())
        letters = self.dead_letters
        written, lost = self._letters_counted
        counts[Count.DEAD_LETTERS_WRITTEN] += letters.written - written
        counts[Count.DEAD_LETTERS_LOST] += letters.lost - lost
        self._letters_counted = letters.written, letters.lost

    def _survey_waiting(self) -> None:
        """What waits, by topic."""
        meter = self.meter
        meter.begin()
        for attachment in self._attachments.values():
            attachment.survey(meter)
        for lane in self._accumulator.working():
            if lane.has_work:
                meter.waits(lane.topic.name, lane.oldest_created_ms, lane.waiting_batches, lane.waiting_bytes)
        for job in self._compressor.jobs():
            counted = job.lane.has_work  # its bytes are among the lane's
            meter.waits(job.lane.topic.name, job.batch.created_ms, 1, 0 if counted else job.plain_bytes)

    # -- inside

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            # our own fault: the worker must not go on half alive
            self._on_fault({"message": "a task of the producer has ended", "exception": task.exception(), "task": task})

    def _make_lane(self, topic: metadata.Topic, partition: int) -> Lane:
        lane = Lane(
            topic,
            partition,
            self._delay_ms,
            idempotent=self._settings.enable_idempotence,
            retries_max=self._settings.retries,
            expires_attempted=self._expires_attempted,
        )
        if self._settings.enable_idempotence and self._identity.producer_id >= 0:
            lane.identity(self._identity.producer_id, self._identity.epoch)
        lane.figures = self.meter.figures.topic(topic.name)
        lane.offsets_of = topic.row
        self._sender.locate(lane)
        return lane

    def _find(self, attachment: Attachment, batch: Any) -> tuple[Lane, Codec]:
        name = attachment.topic_names.get(batch.topic)
        if name is None:
            attachment.topic_names = {topic.index: topic.name for topic in attachment.arena.topics()}
            name = attachment.topic_names[batch.topic]
        topic = self._cluster.topics.get(name)
        if topic is None:
            # left by a configuration that still had it
            topic = self._cluster.add(name)
            self._brokers.refresh()
        lane = self._accumulator.lane(topic, batch.partition)
        settings = self._topics.get(name)
        key = (batch.topic, batch.partition)
        found = (lane, settings.codec if settings else PLAIN)
        attachment.lanes[key] = found
        attachment.keys[lane] = key
        return found

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
        """Recovered batches enter their lanes, now that it is known which cluster this is."""
        partitions: dict[Lane, list[list[Item]]] = {}
        self._waiting = False
        for attachment in self._attachments.values():
            waiting = attachment.take_waiting()
            self._compare_cluster(attachment, waiting)
            for lane, items in self._recovered(attachment, waiting).items():
                partitions.setdefault(lane, []).append(items)
        for lane, arenas in partitions.items():
            runs, sealed = plan(joined(arenas))
            for run in runs:
                lane.add_run(*run)
            self._compress_recovered(lane, sealed)
            self._sender.wake(lane)

    def _compress_recovered(self, lane: Lane, sealed: Sequence[Item]) -> None:
        """What a dead process had sealed and never sent enters its lane as its topic's codec makes it."""
        now_ms, tick_ms = self._clock.now_ms(), self._clock.tick_ms()
        # What was sealed here meanwhile, and is being compressed, comes behind it.
        codec = PLAIN if self._compressor.holds(lane) else self._codec(lane, PLAIN)
        for item in sealed:
            if codec is PLAIN:
                lane.enqueue(item)
                continue
            job = Job(lane, item.arena, item.batch, codec, now_ms, tick_ms)
            job.item = item
            self._compressor.put(job)

    def _enter(self, item: Item, job: Job) -> None:
        item.batch = job.batch
        item.size_bytes = job.batch.size_bytes
        job.lane.enqueue(item)
        self._sender.wake(job.lane)

    def _codec(self, lane: Lane, otherwise: Codec) -> Codec:
        """What the lane's topic is compressed with; ``otherwise`` where that is nothing."""
        settings = self._topics.get(lane.topic.name)
        return settings.codec if settings and settings.codec is not PLAIN else otherwise

    def _recovered(self, attachment: Attachment, waiting: Sequence[Any]) -> dict[Lane, list[Item]]:
        """The batches as items by lane, except those that are left in the arena."""
        tick_ms = self._clock.tick_ms()
        partitions: dict[Lane, list[Item]] = {}
        for batch in waiting:
            lane, _ = attachment.lanes.get((batch.topic, batch.partition)) or self._find(attachment, batch)
            item = recovered_item(attachment.arena, batch, tick_ms)
            if not item.is_numbered:
                item.elsewhere = attachment.elsewhere
            elif item.elsewhere != attachment.elsewhere:
                attachment.parked += 1
                continue
            if item.recovered:
                self.meter.add(Count.RECOVERED_IN_DOUBT)
            partitions.setdefault(lane, []).append(item)
        if waiting and attachment.parked:
            log.error(
                "sent before to another cluster than %s, and staying in the arena until that one is back: %s",
                self._cluster.cluster_id,
                counted(attachment.parked, "batch", "batches"),
            )
        return partitions

    def _keep_to_cluster(self) -> None:
        """Producer id, connections and batches under way belong to the cluster that was found first.

        ClusterError: another one answers now. This process ends with that; its successor sorts the arenas.
        """
        cluster_id = self._cluster.cluster_id
        if self._cluster_id not in ("", cluster_id):
            self._sender.stop()
            raise ClusterError(f"the cluster was {self._cluster_id} and is {cluster_id} now: this worker starts anew")
        self._cluster_id = cluster_id

    def _compare_cluster(self, attachment: Attachment, waiting: Sequence[Any]) -> None:
        """Numbers mean nothing in another cluster (docs/kafka.md 8): what has some is not sent there."""
        arena, cluster_id = attachment.arena, self._cluster.cluster_id
        if not cluster_id or arena.cluster_id == cluster_id or attachment.elsewhere:
            return
        if not arena.cluster_id or not any(recovered_item(arena, batch, 0).is_numbered for batch in waiting):
            arena.set_cluster_id(cluster_id)
        else:
            attachment.elsewhere = True

    def _shrink(self, lane: Lane, arena: Any, batch_bytes: int) -> None:
        """Batches of ``batch_bytes`` may fit where one of twice as much did not: this process fills no larger ones."""
        attachment = self._attachments[arena]
        if attachment.intake is None:
            return
        topic, _ = attachment.keys[lane]
        if attachment.intake.shrink_batches(topic, batch_bytes):
            log.warning(
                "%s: batch.size is %d for this topic until the next start; lower it in the configuration, or raise the"
                " topic's max.message.bytes",
                lane.topic.name,
                batch_bytes,
            )

    # -- once a second

    def _housekeeping(self) -> None:
        if self._closing:
            return
        self._loop.call_later(HOUSEKEEPING_MS / 1000, self._housekeeping)
        self._brokers.look_for_silence()
        self.meter.figures.fold()
        tick_ms = self._clock.tick_ms()
        # A list: what is given up makes room, and that may be for the first batch of another partition.
        for lane in self._accumulator.working():
            if lane.crowded and (not lane.queue or self._timeout_ms(lane) is not None):
                # Where records may expire, none of them waits in an open batch for long: their time runs from sealing.
                self._shares.relieve(lane)
            if lane.has_work:
                lane.topic.used_ms = tick_ms
                self._sender.let_go(lane, tick_ms)
                if not lane.held:
                    self._give_up(lane, tick_ms)

    def _timeout_ms(self, lane: Lane) -> int | None:
        """delivery.timeout.ms of its topic; None: never."""
        settings = self._topics.get(lane.topic.name)
        return settings.delivery_timeout_ms if settings else None

    def _give_up(self, lane: Lane, tick_ms: int) -> None:
        """Fails what has waited as long as it may."""
        timeout_ms = self._timeout_ms(lane)
        if timeout_ms is not None and lane.overdue(tick_ms, timeout_ms):
            self._sender.carry_out(lane, lane.expire(tick_ms, timeout_ms, self._trouble(lane)))
            self._sender.attend(lane)
        if lane.flying or lane.held or not lane.has_work:
            return
        code = self._denied(lane)
        if code and not any(item.arena.view_count(item.batch.entry) for item in lane.window):
            self._sender.carry_out(lane, lane.deny(code))

    def _trouble(self, lane: Lane) -> tuple[int, str]:
        """(Error code, text) of what keeps ``lane`` from its broker; (0, ""): nothing that is known here."""
        _, code = self._cluster.denied_since(lane.topic, lane.partition)
        broker: Broker | None = lane.route
        if code:
            return code, "metadata says so"
        if broker is None:
            met = self._brokers.trouble
            return (NETWORK_EXCEPTION, met) if met else (LEADER_NOT_AVAILABLE, "no leader is known")
        return (0, "") if broker.is_ready else (NETWORK_EXCEPTION, f"{broker.address}: {broker.last_error}")

    def _denied(self, lane: Lane) -> int:
        """The error for which a reachable cluster has denied this partition for too long; 0: none."""
        limit_ms = self._settings.topic_denied_timeout_ms
        since_ms, code = self._cluster.denied_since(lane.topic, lane.partition)
        if 0 <= since_ms <= self._cluster.last_success_ms - limit_ms:
            return code
        if 0 <= lane.denied_since_ms <= lane.denied_last_ms - limit_ms:
            return lane.denied_code
        return 0
