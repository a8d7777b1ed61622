"""All partitions' lanes, and which of them has a turn: batches drained by leader, one per partition and request."""

from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import Item
from ingestd.producer.lanes.lane import Want
from ingestd.producer.network.broker import Broker
from ingestd.producer.network.connection import Connection


class Accumulator:
    """A request holds at most ``request_bytes_max`` of batches, or one that is larger by itself."""

    def __init__(self, request_bytes_max: int) -> None:
        self.lanes: dict[tuple[str, int], Lane] = {}
        """By topic's name and partition."""
        self.stalled: list[Lane] = []
        """Lanes whose batches need new numbers before they can have a turn."""
        self._request_bytes_max = request_bytes_max

    def add(self, lane: Lane) -> None:
        """The first batch of its partition is about to come."""
        self.lanes[lane.topic.name, lane.partition] = lane

    def working(self) -> list[Lane]:
        """The lanes with work, and those called crowded. Of ten thousand, most are idle: they are looked at without a
        call."""
        return [lane for lane in self.lanes.values() if lane.window or lane.queue or lane.crowded or lane.runs]

    def mark(self, lane: Lane) -> Broker | None:
        """The lane may have something to send: it gets a turn. Returns the broker to look after, if it has one."""
        broker: Broker | None = lane.route
        if broker is not None and not lane.queued:
            lane.queued = True
            broker.ready_lanes.append(lane)
        return broker

    def move(self, lane: Lane, broker: Broker | None) -> None:
        """Another leader; None: nobody leads the partition."""
        if lane.route is broker:
            return
        if lane.queued:
            lane.route.ready_lanes.remove(lane)
            lane.queued = False
        lane.route = broker
        if lane.has_work:
            self.mark(lane)

    def drain(self, broker: Broker, connection: Connection, now_ms: int, tick_ms: int) -> list[tuple[Lane, Item]]:
        """The batches of the next request. Every lane led by ``broker`` has its turn before one has it again."""
        ready = broker.ready_lanes
        picked: list[tuple[Lane, Item]] = []
        total_bytes = 0
        for _ in range(len(ready)):
            lane: Lane = ready.popleft()
            # No send passes what is in flight on another connection: the answers there come first.
            if lane.held or (lane.flying and lane.carrier is not connection):
                lane.queued = False
                continue
            if picked and total_bytes + lane.next_bytes > self._request_bytes_max:
                ready.appendleft(lane)
                break
            item = lane.take(now_ms, tick_ms)
            if item is None:
                lane.queued = False
                if lane.renumbering or lane.wants_identity is Want.FRESH:
                    self.stalled.append(lane)
                continue
            total_bytes += item.size_bytes
            picked.append((lane, item))
            if lane.queue or lane.cursor < len(lane.window):
                ready.append(lane)
            else:
                lane.queued = False
        return picked
