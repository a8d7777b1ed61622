"""One partition's lane against a broker that follows Kafka's table (docs/kafka.md 1), and a network that loses answers.

What the broker does besides: it restarts, its memory of producers expires, its topic is made anew, it fences, refuses
and denies, and its limit of a batch's size changes. Batches may be back-dated; hours may pass between two steps.
"""

from collections import Counter, deque
from dataclasses import dataclass, replace
from random import Random
from types import SimpleNamespace

from ingestd.kafka.errors import NETWORK_EXCEPTION
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import EPOCH_MAX, Fail, Item, Repair, Split, Step, Suspicion
from ingestd.producer.lanes.lane import Want
from tests.fakes.partition_log import PartitionLog

NOW_MS = 1_700_000_000_000
HOUR_MS = 3600 * 1000
LOST = NETWORK_EXCEPTION
DENIED = 29
TOO_LARGE = 10
REFUSED = 44
UNKNOWN_TOPIC_ID = 100
PAUSE_MS = 100
"""What a lane of ``make_lane`` waits at least where it waits."""
HASTY_MAX = 6


def make_batch(name: int, ids: tuple[int, ...], timestamp_ms: int = NOW_MS) -> SimpleNamespace:
    """``ids``: of its records."""
    return SimpleNamespace(
        record_count=len(ids), size_bytes=100, max_timestamp_ms=timestamp_ms, name=name, ids=tuple(ids)
    )


def make_item(name: int, count: int = 1, timestamp_ms: int = NOW_MS, first: int = 0, tick_ms: int = 0) -> Item:
    return Item(None, make_batch(name, tuple(range(first, first + count)), timestamp_ms), tick_ms)


def make_lane(
    count: int = 0,
    *,
    confirmed: bool = False,
    idempotent: bool = True,
    records: int = 1,
    expires_attempted: bool = False,
) -> Lane:
    lane = Lane(
        "t",
        0,
        lambda failures: min(100 * failures, 1000),
        idempotent=idempotent,
        expires_attempted=expires_attempted,
    )
    if idempotent:
        lane.identity(7, 0)
        assert lane.own is not None
        if confirmed:
            lane.own.confirmed = lane.own.known = True
    for number in range(count):
        lane.enqueue(make_item(number, records))
    return lane


def take_all(lane: Lane, tick_ms: int = 0) -> list[Item]:
    """What the lane sends now, as an arena would have it that stamps at once."""
    items = []
    while (item := lane.take(NOW_MS, tick_ms)) is not None:
        item.stamped = True
        items.append(item)
    return items


def refuse(lane: Lane, item: Item, code: int, tick_ms: int = 0) -> None:
    """The broker answers ``item`` with ``code``."""
    lane.failed(item, code, tick_ms)


def ids_of(log: PartitionLog) -> list[int]:
    data = b"".join(batch.payload for batch in log.batches)
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


@dataclass
class Flight:
    """``incarnation``: index of the topic that the request names."""

    item: Item
    numbers: tuple[int, int, int]
    incarnation: int
    payload: bytes
    count: int
    """Of its records; the item may be split before a late request arrives."""
    outcome: tuple[int, int] | None = None


class World:
    """FIFO, as one connection is. ``forgetful``: the broker's memory and its topic do not last; refusals of all kinds.
    ``limits``: records that a batch may have, one after the other, at random. ``timeout_ms``: of the lane's batches.
    ``endless``: there is always another batch behind one in doubt, a small one where ``batches`` were sent.

    ``run`` ends once nothing waits; then the books are there, in ids of records: ``delivered`` and ``failed`` in the
    order told, ``risky`` those delivered that were told as possible duplicates, ``maybe`` those failed that may have
    been written.
    """

    def __init__(
        self,
        seed: int,
        batches: int,
        *,
        refusals: bool = False,
        forgetful: bool = False,
        limits: tuple[int, ...] = (),
        timeout_ms: int = 0,
        endless: bool = False,
    ) -> None:
        self.endless = endless
        self.random = Random(seed)
        self.limits = limits
        self.limit = limits[0] if limits else 0
        self.timeout_ms = timeout_ms
        self.records = 0
        """Given to the lane so far."""
        self.refused: list[int] = []
        """Ids of those whose batch the broker never takes."""
        self.splits = 0
        self.logs = [PartitionLog()]
        self.incarnation = 0
        """The topic that metadata names."""
        self.lane = make_lane(expires_attempted=bool(timeout_ms))
        self.sent = 0
        self.batches = batches
        self.refusals = refusals
        self.forgetful = forgetful
        self.failed: list[int] = []
        self.maybe: set[int] = set()
        self.unwritten: dict[int, int] = {}
        """Those failed that were not written, each with the topic that this was said of."""
        self.delivered: list[int] = []
        self.risky: set[int] = set()
        self.repaired: set[int] = set()
        self.suspicions = 0
        self.failed_ms: dict[Item, int] = {}
        """Monotonic time of the last error that each batch was answered."""
        self.hasty: Counter[Item] = Counter()
        """Times in a row that each batch went out again without a pause."""
        self.flights: deque[Flight] = deque()
        self.late: list[Flight] = []
        self.tick_ms = 0
        self.now_ms = NOW_MS
        self.next_id = 8

    @property
    def log(self) -> PartitionLog:
        return self.logs[-1]

    def run(self) -> None:
        idle = 0
        while self.lane.has_work or self.sent < self.batches:
            self.tick_ms += self.random.choice((0, 1, 50, 2000))
            before = len(self.delivered) + len(self.failed)
            self.step()
            idle = 0 if len(self.delivered) + len(self.failed) > before else idle + 1
            assert idle < 3000, "the lane is stuck"

    def step(self) -> None:
        chance = self.random.random()
        if chance < 0.4:
            self.seal()
        self.send()
        if self.flights and chance < 0.8:
            self.answer()
        elif self.flights and chance > 0.93:
            self.cut()
        elif chance > 0.90:
            self.log.restart()
        if self.late and chance > 0.85:
            self.arrive(self.late.pop(0))
        if self.forgetful:
            self.forget()
        if self.limits and self.random.random() < 0.05:
            self.limit = self.random.choice(self.limits)
        if self.timeout_ms:
            self.apply(self.lane.expire(self.tick_ms, self.timeout_ms))
        if self.lane.must_resolve:
            self.apply(self.lane.resolve(self.tick_ms))

    def seal(self) -> None:
        if self.sent < self.batches:
            self.enqueue()
        elif self.endless and not self.lane.queue and any(item.in_doubt for item in self.lane.window):
            self.enqueue(1)

    def enqueue(self, count: int = 0) -> None:
        count = count or self.random.randint(1, 3 if not self.limits else 2 * max(self.limits))
        item = make_item(self.sent, count, self.timestamp(), self.records, self.tick_ms)
        if self.refusals and self.sent % 11 == 5:
            self.refused += item.batch.ids
        self.sent += 1
        self.records += count
        self.lane.enqueue(item)

    def timestamp(self) -> int:
        hours = self.random.choice((0, 0, 0, 10, 22, 30)) if self.forgetful else 0
        return self.now_ms - hours * HOUR_MS

    def send(self) -> None:
        while self.random.random() < 0.8:
            item = self.lane.take(self.now_ms, self.tick_ms)
            if item is None:
                self.check_wait()
                return
            assert all(item is not flight.item for flight in self.flights)
            self.check_pause(item)
            item.stamped = True
            payload = b"".join(one.to_bytes(2, "big") for one in item.batch.ids)
            numbers = (item.producer_id, item.epoch, item.sequence)
            self.flights.append(Flight(item, numbers, self.incarnation, payload, item.record_count))

    def check_wait(self) -> None:
        """A lane that has something and sends nothing waits for an answer, or for a time: batches that expire would
        hide that it is stuck."""
        lane = self.lane
        assert lane.flying or lane.must_resolve or self.tick_ms < lane.retry_at_ms or not lane.has_work

    def check_pause(self, item: Item) -> None:
        """A batch that met an error may go out at once, for another's sake or smaller, but not again and again."""
        failed_ms = self.failed_ms.get(item, -PAUSE_MS)
        self.hasty[item] = self.hasty[item] + 1 if self.tick_ms - failed_ms < PAUSE_MS else 0
        assert self.hasty[item] < HASTY_MAX

    # -- the broker

    def arrive(self, flight: Flight) -> tuple[int, int]:
        """The broker's own work on a request. Refusals depend on the batch only, as validation does."""
        if flight.outcome is None:
            flight.outcome = self.work(flight)
        return flight.outcome

    def work_ahead(self) -> None:
        """Some of what is in flight has arrived: answers are on their way while other things happen."""
        for flight in list(self.flights)[: self.random.randint(0, len(self.flights))]:
            self.arrive(flight)

    def work(self, flight: Flight) -> tuple[int, int]:
        name = flight.item.batch.name
        if flight.incarnation != len(self.logs) - 1:
            return UNKNOWN_TOPIC_ID, -1
        if self.refusals and name % 11 == 5:
            return REFUSED, -1
        if self.limit and flight.count > self.limit:
            return TOO_LARGE, -1
        if self.forgetful and name % 11 == 7 and flight.count > 1 and name not in self.repaired:
            return 87, -1
        if self.random.random() < 0.1:
            return self.random.choice((19, 19, -1, 6)) if self.forgetful else 19, -1
        code, offset, _ = self.log.append(
            *flight.numbers, flight.count, flight.item.batch.max_timestamp_ms, flight.payload
        )
        if code == 0 and self.random.random() < 0.1:
            code = self.random.choice((7, 20, 6))
        return code, offset

    def forget(self) -> None:
        chance = self.random.random()
        if chance < 0.03:
            self.log.expire(self.now_ms)
        elif chance < 0.04:
            self.wait(self.random.choice((1, 20, 23, 25, 60)) * HOUR_MS)
        elif chance < 0.05:
            self.work_ahead()
            self.logs.append(PartitionLog())
        elif chance < 0.055:
            for state in self.log.producers.values():
                # somebody else's numbers, far above ours
                state.epoch = EPOCH_MAX
                state.batches = [replace(state.batches[-1], sequence=1 << 30)]
        elif chance < 0.057 and not self.lane.flying:
            self.apply(self.lane.deny(DENIED))
        if self.incarnation != len(self.logs) - 1 and chance > 0.5:
            self.incarnation = len(self.logs) - 1
            self.lane.topic_made_anew()

    def wait(self, hours_ms: int) -> None:
        """No byte is on its way for hours: what is in flight has arrived or is lost, answers may wait unread."""
        self.late = []
        if self.random.random() < 0.5:
            for flight in self.flights:
                self.arrive(flight)
        else:
            self.cut()
            self.late = []
        self.now_ms += hours_ms
        self.tick_ms += hours_ms
        self.log.expire(self.now_ms)

    # -- answers

    def answer(self) -> None:
        flight = self.flights.popleft()
        code, offset = self.arrive(flight)
        if code == 0:
            for item in self.lane.succeeded(flight.item, offset, self.now_ms):
                self.delivered += item.batch.ids
                if item.risk:
                    self.risky.update(item.batch.ids)
        else:
            self.failed_ms[flight.item] = self.tick_ms
            self.lane.failed(flight.item, code, self.tick_ms, ((0, "bad"),) if code == 87 else ())

    def cut(self) -> None:
        """The connection dies: a prefix of what is in flight has arrived, some of the rest arrives later."""
        arrived = self.random.randint(0, len(self.flights))
        flights = list(self.flights)
        self.flights.clear()
        for flight in flights[:arrived]:
            self.arrive(flight)
        self.late = flights[arrived : arrived + self.random.randint(0, 2)] if self.random.random() < 0.3 else []
        for flight in flights:
            self.lane.failed(flight.item, LOST, self.tick_ms)

    def apply(self, steps: list[Step]) -> None:
        for step in steps:
            if isinstance(step, Fail):
                self.failed += step.item.batch.ids
                if step.maybe:
                    self.maybe.update(step.item.batch.ids)
                else:
                    self.unwritten.update(dict.fromkeys(step.item.batch.ids, self.incarnation))
            elif isinstance(step, Repair):
                batch = step.item.batch
                self.repaired.add(batch.name)
                self.failed.append(batch.ids[0])
                self.unwritten[batch.ids[0]] = self.incarnation
                step.item.batch = make_batch(batch.name, batch.ids[1:], batch.max_timestamp_ms)
            elif isinstance(step, Split):
                self.split(step)
            else:
                assert isinstance(step, Suspicion)
                self.suspicions += 1
        if self.lane.wants_identity is Want.FRESH:
            self.lane.identity(self.next_id, 0)
            self.next_id += 1
        if self.random.random() < 0.5:
            # the old connection's last bytes may come before the new numbers are used
            for flight in self.late:
                self.arrive(flight)
            self.late = []
        for item in self.lane.renumbering:
            item.stamped = True
        self.lane.renumbered()

    def split(self, step: Split) -> None:
        batch = step.item.batch
        self.hasty[step.item] = 0
        cut = self.random.randint(1, len(batch.ids) - 1)
        halves = (batch.ids[:cut], batch.ids[cut:])
        self.lane.divided(step, *(make_batch(batch.name, ids, batch.max_timestamp_ms) for ids in halves))
        self.splits += 1

    # -- the judge

    @property
    def written(self) -> list[int]:
        """What is in the log, in order."""
        return ids_of(self.log)

    @property
    def good(self) -> list[int]:
        """What the broker would take, in order."""
        refused = set(self.refused)
        return [number for number in range(self.records) if number not in refused]

    def judge(self) -> None:
        """Nothing is lost silently, and whatever may be there twice was told as such."""
        logs = [Counter(ids_of(log)) for log in self.logs]
        everywhere = sum(logs, Counter[int]())
        assert sorted(self.delivered + self.failed) == list(range(self.records))
        assert [name for name in self.delivered if not everywhere[name]] == []
        for name, incarnation in self.unwritten.items():
            assert not any(log[name] for log in logs[incarnation:])
        twice = {name for log in logs for name, count in log.items() if count > 1}
        assert twice - self.risky - self.maybe == set()
