"""Drains batches into produce requests and reads their answers (in Kafka: the Sender). Runs on the event loop only.

    sealed batch -> lane (lanes/) -> turn at its leader (accumulator.py) -> request (network/) -> answer

Per batch: stamp and note the attempt in the arena, one view, one buffer in the request; nothing is copied.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from ingestd.config.model import Producer
from ingestd.figures import Count
from ingestd.kafka import produce
from ingestd.kafka.errors import NETWORK_EXCEPTION, NONE, Action, error_of
from ingestd.kafka.produce import TOPIC_ID_NONE, TOPIC_ID_SINCE, Answer, TopicRow
from ingestd.log import counted
from ingestd.producer.accumulator import Accumulator
from ingestd.producer.common import Clock, log
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import Item, Step
from ingestd.producer.lanes.lane import Want
from ingestd.producer.meter import Meter
from ingestd.producer.network.broker import Broker
from ingestd.producer.network.brokers import SILENT_MS, Brokers
from ingestd.producer.network.cluster import Topic
from ingestd.producer.network.connection import Connection
from ingestd.producer.network.identity import Identity
from ingestd.producer.outcomes import DeliveryEvents, Outcomes, write_numbers

VIEW_WAIT_MS: Final = 20
"""Pause before looking again whether a dead connection has let go of a batch."""

Parcel = tuple[Lane, Item, TopicRow]


def _nobody(_: Lane) -> None:
    """Nobody wants to know."""


def _matched(
    parcels: Sequence[Parcel], answers: Sequence[Answer], *, by_id: bool
) -> Iterable[tuple[Parcel, Answer | None]]:
    """Each batch of a request with what the response says of it; None: nothing. The order is mostly the same."""
    if len(parcels) == len(answers):
        for (lane, _, row), answer in zip(parcels, answers, strict=True):
            if answer.partition != lane.partition or answer.topic != (row.topic_id if by_id else row.name):
                break
        else:
            return zip(parcels, answers, strict=True)
    found = {(answer.topic, answer.partition): answer for answer in answers}
    return [
        (parcel, found.get((parcel[2].topic_id if by_id else parcel[2].name, parcel[0].partition)))
        for parcel in parcels
    ]


class Sender:
    """Owner of the connections. ``start`` must be given brokers and identity before anything comes in."""

    def __init__(
        self,
        settings: Producer,
        accumulator: Accumulator,
        outcomes: Outcomes,
        events: DeliveryEvents,
        meter: Meter,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
    ) -> None:
        self.accumulator = accumulator
        self._outcomes = outcomes
        self._events = events
        self._meter = meter
        self._loop = loop
        self._clock = clock
        self._acknowledged = settings.acks != 0
        self._brokers: Brokers | None = None
        self._identity: Identity | None = None
        self._undone: dict[Lane, list[Step]] = {}
        """Decisions that are not carried out yet."""
        self._pumping: set[Broker] = set()
        self._closed = False
        self.relieve: Callable[[Lane], None] = _nobody
        """Called when nothing waits any more in a lane that was crowded."""

    def start(self, brokers: Brokers, identity: Identity) -> None:
        self._brokers = brokers
        self._identity = identity

    def stop(self) -> None:
        """Nothing is sent any more; what connections still lose stays in the arena as it is."""
        self._closed = True

    @property
    def busy(self) -> bool:
        """Something is decided and not carried out: batches may be in no lane any more, and have no outcome yet."""
        return bool(self._undone)

    # -- what wakes a lane

    def wake(self, lane: Lane) -> None:
        """Something changed for ``lane``: give it a turn, soon."""
        broker = self.accumulator.mark(lane)
        if broker is None:
            if lane.has_work and self._brokers is not None:
                self._brokers.refresh()
        elif broker not in self._pumping:
            self._soon(broker)

    def _soon(self, broker: Broker) -> None:
        """A request once the loop has read again: what is sealed by then goes along. One large request costs the kernel
        on both sides far less than two small ones."""
        if broker.ready_lanes and broker not in self._pumping:
            self._pumping.add(broker)
            self._loop.call_soon(self._loop.call_soon, self._pump_soon, broker)

    def _pump_soon(self, broker: Broker) -> None:
        self._pumping.discard(broker)
        self._pump(broker)

    def granted(self, producer_id: int, epoch: int) -> None:
        """A producer id has come: for all lanes that wait for one."""
        self._meter.add(Count.PRODUCER_IDS)
        for lane in self.accumulator.lanes.values():
            if lane.own is None or lane.wants_identity is not Want.NOTHING:
                lane.identity(producer_id, epoch)
                if not lane.held:  # else whoever holds it does that once the steps before are done
                    self._settle_numbers(lane)

    def relocate(self, topics: Iterable[Topic]) -> None:
        """Leaders of ``topics`` have changed."""
        names = {topic.name for topic in topics}
        for lane in self.accumulator.lanes.values():
            if lane.topic.name in names:
                if lane.offsets_of is not lane.topic.row:
                    lane.offsets_of = lane.topic.row
                    lane.topic_made_anew()
                self.locate(lane)

    def locate(self, lane: Lane) -> None:
        """Finds the leader of ``lane``. Nothing in flight elsewhere is passed: see ``Accumulator.drain``."""
        if self._brokers is None:
            return
        broker = self._brokers.get(lane.topic.leader(lane.partition))
        if broker is lane.route:
            return
        self.accumulator.move(lane, broker)
        lane.retry_at_ms = 0
        if lane.has_work:
            self.wake(lane)

    def let_go(self, lane: Lane, tick_ms: int) -> None:
        """Ends the wait for a broker that has said nothing for long and does not lead ``lane`` any more: what it still
        carries goes to the new leader under the same numbers, which tell it what it has already (docs/kafka.md 1)."""
        carrier: Connection | None = lane.carrier
        if lane.flying and carrier is not None and lane.route is not None and lane.route is not carrier.broker:
            silent_ms = carrier.silent_ms(tick_ms)
            if silent_ms >= SILENT_MS:
                carrier.give_up(f"silent for {silent_ms} ms, and {lane.topic.name}-{lane.partition} is led elsewhere")

    # -- Owner of the connections

    def connected(self, broker: Broker) -> None:
        self._meter.add(Count.CONNECTIONS_MADE)
        if self._brokers is not None:
            self._brokers.announce()
        self._pump(broker)

    def unreachable(self, broker: Broker) -> None:
        self._meter.add(Count.CONNECTIONS_ENDED)
        if self._closed or self._brokers is None:
            return
        if broker.ready_lanes:
            self._brokers.refresh()
            broker.want()

    def authenticated(self, *, again: bool) -> None:
        self._meter.add(Count.REAUTHENTICATIONS if again else Count.AUTHENTICATIONS)

    def refused(self, error: Exception, *, again: bool) -> None:
        self._meter.add(Count.REAUTHENTICATIONS_FAILED if again else Count.AUTHENTICATIONS_FAILED)
        if isinstance(error, ssl.SSLError):
            self._meter.add(Count.HANDSHAKES_FAILED)

    def writable(self, broker: Broker) -> None:
        self._pump(broker)

    def produced(self, connection: Connection, request: Any, frame: bytes, at: int) -> None:
        version: int = request.version
        response = produce.decode(version, frame, at)
        now_ms, tick_ms = self._clock.now_ms(), self._clock.tick_ms()
        self._meter.answered(tick_ms - request.sent_tick_ms, response.throttle_ms)
        if response.throttle_ms > 0:
            connection.throttle(produce.API_KEY, version, response.throttle_ms)
        for (lane, item, _), answer in _matched(request.context, response.answers, by_id=version >= TOPIC_ID_SINCE):
            self._answered(lane, item, answer, response.endpoints, now_ms, tick_ms)
        self._outcomes.count(now_ms, tick_ms)
        self._events.on_freed()
        self._soon(connection.broker)

    def misdirected(self, broker: Broker) -> None:
        if not self._closed and self._brokers is not None:
            self._brokers.rebootstrap(f"{broker.address} does not belong to the cluster any more")

    def lost(self, connection: Connection, contexts: list[Any]) -> None:
        if self._closed:
            return
        tick_ms = self._clock.tick_ms()
        lanes = []
        for parcels in contexts:
            for lane, item, _ in parcels:
                self._meter.error(NETWORK_EXCEPTION)
                lane.failed(item, NETWORK_EXCEPTION, tick_ms)
                lanes.append(lane)
        what = counted(len(lanes), "batch", "batches")
        log.warning("%s in doubt after the loss of %s: sent again", what, connection.broker.address)
        # Not from here: the transport lets go of its buffers, and so of the views, behind this call.
        for lane in dict.fromkeys(lanes):
            self._loop.call_soon(self.attend, lane)
        if self._brokers is not None:
            self._brokers.refresh()

    # -- sending

    def _pump(self, broker: Broker) -> None:
        """Builds requests for ``broker`` as long as its connection can take one at once."""
        connection = broker.connection
        if self._closed or not broker.ready_lanes:
            return
        if connection is None:
            broker.want()
            return
        tick_ms = self._clock.tick_ms()
        while broker.ready_lanes and connection.can_send(tick_ms):
            now_ms = self._clock.now_ms()
            picked = self.accumulator.drain(broker, connection, now_ms, tick_ms)
            if self.accumulator.stalled:
                self._unstall()
            if not picked:
                break
            broker.drained_tick_ms = tick_ms
            self._send(connection, picked, now_ms, tick_ms)
            for lane, _ in picked:
                if lane.crowded and not lane.queue:
                    self.relieve(lane)

    def _unstall(self) -> None:
        """Recovered batches that a crash had left between two numberings get theirs first."""
        stalled, self.accumulator.stalled = self.accumulator.stalled, []
        for lane in stalled:
            self._settle_numbers(lane)

    def _send(self, connection: Connection, picked: list[tuple[Lane, Item]], now_ms: int, tick_ms: int) -> None:
        topics: dict[str, tuple[TopicRow, list[tuple[int, memoryview]]]] = {}
        parcels: list[Parcel] = []
        by_name = False
        row: TopicRow | None = None
        partitions: list[tuple[int, memoryview]] = []
        for lane, item in picked:
            arena = item.arena
            entry = item.batch.entry
            if item.stamped:
                arena.attempted(entry, now_ms)
                view = arena.view(entry)
            else:
                view = arena.dispatch(entry, item.producer_id, item.epoch, item.sequence, item.flags, now_ms)
                item.stamped = True
            lane.carrier = connection
            if lane.topic.row is not row:
                row = lane.topic.row
                by_name = by_name or row.topic_id == TOPIC_ID_NONE
                partitions = topics.setdefault(row.name, (row, []))[1]
            parcels.append((lane, item, row))
            partitions.append((lane.partition, view))
        self._meter.sending(picked, tick_ms, now_ms)
        self._meter.add(Count.REQUESTS)
        connection.send_produce(list(topics.values()), by_name, parcels)
        if not self._acknowledged:
            for lane, item, _ in parcels:
                for settled in lane.succeeded(item, -1, now_ms):
                    self._outcomes.deliver(lane, settled, -1, -1)
            self._outcomes.count(now_ms, tick_ms)
            self._events.on_freed()

    # -- answers

    def _answered(
        self,
        lane: Lane,
        item: Item,
        answer: Answer | None,
        endpoints: tuple[tuple[int, str, int], ...],
        now_ms: int,
        tick_ms: int,
    ) -> None:
        if answer is None:
            # a partition that the answer leaves out is not forgotten (docs/kafka.md 9)
            self._meter.error(NETWORK_EXCEPTION)
            lane.failed(item, NETWORK_EXCEPTION, tick_ms)
        elif answer.code == NONE or error_of(answer.code).action is Action.DONE:
            for settled in lane.succeeded(item, answer.base_offset, now_ms):
                if settled is item:
                    append_time_ms = item.append_time_ms(answer.log_append_time_ms)
                    self._outcomes.deliver(lane, item, answer.base_offset, append_time_ms)
                else:
                    self._outcomes.deliver(lane, settled, -1, -1)
            if lane.regressions:
                self._outcomes.regressed(lane)
        else:
            self._meter.error(answer.code)
            lane.failed(item, answer.code, tick_ms, answer.record_errors, answer.text, answer.log_start_offset)
            self._hint(lane, answer, endpoints)
        if lane.halted:
            self.attend(lane)
        elif not lane.queued and lane.may_send:
            self.wake(lane)

    def _hint(self, lane: Lane, answer: Answer, endpoints: tuple[tuple[int, str, int], ...]) -> None:
        """The answer may name the new leader (KIP-951)."""
        if answer.leader_id < 0 or self._brokers is None:
            return
        known = {node: (host, port) for node, host, port in endpoints}
        cluster = self._brokers.cluster
        if cluster.hint(lane.topic, lane.partition, answer.leader_id, answer.leader_epoch, known):
            lane.wants_refresh = False
            self.locate(lane)

    def attend(self, lane: Lane) -> None:
        """A lane that met an error: once nothing of it is in flight and no view is held, its answers are read."""
        if lane.wants_refresh and self._brokers is not None:
            lane.wants_refresh = False
            self._brokers.refresh()
        if not lane.must_resolve or lane.held or self._closed:
            return
        if any(item.arena.view_count(item.batch.entry) for item in lane.window):
            self._later(VIEW_WAIT_MS, self.attend, lane)
            return
        steps = lane.resolve(self._clock.tick_ms())
        if lane.carrier is not None and lane.route is not lane.carrier.broker:
            lane.retry_at_ms = 0  # the next attempt asks another broker: nothing to wait for
        self.carry_out(lane, steps)

    def carry_out(self, lane: Lane, steps: list[Step]) -> None:
        """Applies decisions; the lane is held until all are done."""
        if self._closed:
            return
        lane.held = True
        count = len(steps)
        wait_ms = self._outcomes.apply(lane, steps)
        if len(steps) < count:
            self._events.on_freed()
        if wait_ms:
            self._undone[lane] = steps
            self._later(wait_ms, self.carry_out, lane, steps)
        else:
            self._undone.pop(lane, None)
            self._settle_numbers(lane)

    def _settle_numbers(self, lane: Lane) -> None:
        """New numbers go to the arena before anything is sent under them; then the lane runs again."""
        if self._closed:
            return
        if lane.wants_refresh and self._brokers is not None:
            lane.wants_refresh = False
            self._brokers.refresh()
        if lane.wants_identity is Want.FRESH and self._identity is not None:
            lane.held = False
            self._identity.want()  # goes on in `granted`
            return
        if lane.bumps:
            self._meter.add(Count.EPOCH_BUMPS, lane.bumps)
            lane.bumps = 0
        if lane.renumbering:
            if not write_numbers(lane.renumbering, self._clock.now_ms()):
                lane.held = True
                self._later(VIEW_WAIT_MS, self._settle_numbers, lane)
                return
            lane.renumbered()
        lane.held = False
        if lane.must_resolve:
            self.attend(lane)  # more has ended meanwhile
        else:
            self._go_on(lane)

    def _go_on(self, lane: Lane) -> None:
        """Wakes ``lane`` once its pause is over, and not before: an event loop's timers may fire a little early."""
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        if self._closed:
            return
        delay_ms = lane.retry_at_ms - self._clock.tick_ms()
        if delay_ms > 0:
            lane.timer = self._loop.call_later(delay_ms / 1000, self._go_on, lane)
        elif lane.has_work:
            self.wake(lane)

    def _later(self, delay_ms: int, call: Any, *arguments: Any) -> None:
        self._loop.call_later(delay_ms / 1000, call, *arguments)
