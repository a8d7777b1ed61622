"""Processes that die at random, one after the other, on one partition of two replicas, with all that a broker may do.

Beside what ``lane_world`` has for one process: a death between any two intents of the arena; batches in several arenas;
a leader that remembers more or less than the one before; refusals that pass; producers with and without idempotence.
"""

from collections import Counter
from dataclasses import dataclass, replace
from random import Random
from types import SimpleNamespace

from ingestd.hotpath.snapshots import BatchState
from ingestd.kafka.errors import NETWORK_EXCEPTION
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import (
    EPOCH_MAX,
    FLAG_CUT,
    FLAG_RISK,
    SEQUENCE_MASK,
    Fail,
    Item,
    Repair,
    Split,
    Step,
    Suspicion,
    recovered_item,
)
from ingestd.producer.lanes.lane import Want
from ingestd.producer.lanes.recovery import joined, plan
from tests.fakes.partition_log import PartitionLog, Producer

NOW_MS = 1_700_000_000_000
HOUR_MS = 3600 * 1000
TOO_LARGE, REFUSED, RECORD_REFUSED = 10, 44, 87
NOTHING_WRITTEN = (19, 6)
PERHAPS_WRITTEN = (7, 20)
PASSING = (REFUSED, RECORD_REFUSED, -1, -1, -1)


class DeathError(Exception):
    """Of the process."""


@dataclass(frozen=True)
class Trouble:
    """What happens besides: ``limits`` of a batch's records, one after the other; ``passing``: chance of a refusal that
    another attempt does not meet; ``forgetful``: hours pass; ``toggling``: some processes are without idempotence.
    """

    deaths: float = 0.02
    limits: tuple[int, ...] = ()
    refusals: bool = False
    repairs: bool = False
    passing: float = 0.0
    forgetful: bool = False
    toggling: bool = False
    first_epoch: int = 0
    retries_max: int = SEQUENCE_MASK


@dataclass(frozen=True)
class Row:
    """A batch as the arena has it."""

    entry: int
    arena: int
    number: int
    ids: tuple[int, ...]
    timestamp_ms: int
    is_stamped: bool = False
    numbers: tuple[int, int, int] = (-1, -1, -1)
    attempts: int = 0
    first_send_ms: int = 0
    flags: int = 0

    def snapshot(self) -> SimpleNamespace:
        """As ``arena.batch`` gives it."""
        producer_id, epoch, sequence = self.numbers
        is_numbered = self.is_stamped or producer_id >= 0
        return SimpleNamespace(
            entry=self.entry,
            ids=self.ids,
            record_count=len(self.ids),
            size_bytes=100,
            created_ms=1,
            max_timestamp_ms=self.timestamp_ms,
            state=BatchState.STAMPED if self.is_stamped else BatchState.SEALED,
            producer_id=producer_id,
            producer_epoch=epoch,
            base_sequence=sequence,
            first_send_ms=self.first_send_ms if is_numbered and (self.attempts or not self.is_stamped) else 0,
            attempts=self.attempts if self.is_stamped else 0,
            stamp_flags=self.flags,
        )


class Replicas:
    """One log, and what each of two brokers remembers of who wrote it."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.log = PartitionLog()
        self.memories: list[dict[int, Producer]] = [{}, {}]
        self.leader = 0

    def append(self, row: Row) -> tuple[int, int]:
        before = len(self.log.batches)
        self.log.producers = self.memories[self.leader]
        payload = b"".join(one.to_bytes(2, "big") for one in row.ids)
        code, offset, _ = self.log.append(*row.numbers, len(row.ids), row.timestamp_ms, payload)
        if len(self.log.batches) > before and row.numbers[0] >= 0:
            batch = self.log.batches[-1]
            known = self.memories[1 - self.leader].get(batch.producer_id)
            batches = [*known.batches, batch][-5:] if known and known.epoch == batch.epoch else [batch]
            self.memories[1 - self.leader][batch.producer_id] = Producer(batch.epoch, batches)
        return code, offset

    def disturb(self) -> None:
        """The leader changes, mostly for a restart."""
        if self.random.random() < 0.5:
            which = self.random.randrange(2)
            for state in self.memories[which].values():
                del state.batches[:-1]
            self.leader = 1 - which if self.random.random() < 0.7 else self.leader
        else:
            self.leader = 1 - self.leader

    def expire(self, now_ms: int) -> None:
        for memory in self.memories:
            self.log.producers = memory
            self.log.expire(now_ms)


class Life:
    """``run`` ends once nothing waits; then the books are there, as ``lane_world.World`` has them."""

    def __init__(self, seed: int, batches: int, trouble: Trouble) -> None:
        self.random = Random(seed)
        self.trouble = trouble
        self.batches = batches
        self.limit = trouble.limits[0] if trouble.limits else SEQUENCE_MASK
        self.replicas = Replicas(self.random)
        self.rows: dict[int, Row] = {}
        self.own = self.lives = self.sealed = self.records = self.next_entry = self.next_producer_id = 0
        self.now_ms, self.tick_ms = NOW_MS, 0
        self.refused: set[int] = set()
        self.bad: set[int] = set()
        self.flights: list[tuple[Item, Row]] = []
        self.late: list[Row] = []
        self.delivered: list[int] = []
        self.failed: list[int] = []
        self.risky: set[int] = set()
        self.maybe: set[int] = set()
        self.lane = Lane("t", 0, lambda _: 0)

    def run(self) -> None:
        while self.rows or self.sealed < self.batches:
            self.lives += 1
            self.own += self.random.random() < 0.3
            try:
                self.live()
            except DeathError:
                self.die()

    def die(self) -> None:
        """Some of what was on its way arrives, and some of that late."""
        at = self.random.randint(0, len(self.flights))
        for _, row in self.flights[:at]:
            self.arrive(row)
        self.late += [row for _, row in self.flights[at:]][: self.random.randint(0, 3)]
        if self.random.random() < 0.3:
            self.replicas.disturb()
        if self.trouble.forgetful and self.random.random() < 0.1:
            self.wait()

    def may_die(self) -> None:
        """Between two intents."""
        if self.random.random() < self.trouble.deaths:
            raise DeathError

    def live(self) -> None:
        self.flights = []
        lane = self.lane = Lane(
            "t",
            0,
            lambda failures: min(100 * failures, 1000),
            idempotent=not (self.trouble.toggling and self.random.random() < 0.5),
            retries_max=self.trouble.retries_max,
        )
        arenas: dict[int, list[Item]] = {}
        for row in sorted(self.rows.values(), key=lambda row: (row.arena, row.number)):
            arenas.setdefault(row.arena, []).append(recovered_item(None, row.snapshot(), self.tick_ms))
        runs, sealed = plan(joined(arenas.values()))
        for run in runs:
            lane.add_run(*run)
        for item in sealed:
            lane.enqueue(item)
        if lane.own is None:
            self.identify()
        idle = 0
        while lane.has_work or self.sealed < self.batches:
            before = len(self.delivered) + len(self.failed)
            self.tick_ms += self.random.choice((0, 1, 50, 2000))
            self.step(self.random.random())
            idle = 0 if len(self.delivered) + len(self.failed) > before else idle + 1
            assert idle < 4000, "the lane is stuck"

    def identify(self) -> None:
        self.lane.identity(self.next_producer_id, self.trouble.first_epoch)
        self.next_producer_id += 1

    def step(self, chance: float) -> None:
        if chance < 0.35 and self.sealed < self.batches:
            self.seal()
        if chance < 0.6:
            self.send()
        if self.late and chance > 0.85:
            self.arrive(self.late.pop(0))
        if self.flights and 0.4 < chance < 0.9:
            self.answer(*self.flights.pop(0))
        elif self.flights and chance > 0.94:
            self.cut()
        elif chance > 0.9:
            self.replicas.disturb()
        if self.trouble.limits and self.random.random() < 0.05:
            self.limit = self.random.choice(self.trouble.limits)
        if self.trouble.forgetful:
            self.forget(self.random.random())
        if self.lane.must_resolve:
            self.apply(self.lane.resolve(self.tick_ms))

    def seal(self) -> None:
        count = self.random.randint(1, 6 if self.trouble.limits else 3)
        ids = tuple(range(self.records, self.records + count))
        hours = self.random.choice((0, 0, 0, 10, 22, 30)) if self.trouble.forgetful else 0
        row = Row(self.next_entry, self.own, self.sealed * 1000, ids, self.now_ms - hours * HOUR_MS)
        self.rows[row.entry] = row
        self.next_entry += 1
        self.sealed += 1
        self.records += count
        if self.trouble.refusals and self.sealed % 11 == 5:
            self.refused.update(ids)
        if self.trouble.repairs and self.sealed % 7 == 3 and count > 1:
            self.bad.add(ids[count // 2])
        self.lane.enqueue(Item(None, row.snapshot(), self.tick_ms))

    def send(self) -> None:
        while self.random.random() < 0.8 and (item := self.lane.take(self.now_ms, self.tick_ms)) is not None:
            if item.stamped:
                row = self.rows[item.batch.entry]
                assert row.numbers == (item.producer_id, item.epoch, item.sequence)
                first_ms = row.first_send_ms if row.attempts else self.now_ms
                self.rows[row.entry] = replace(row, attempts=row.attempts + 1, first_send_ms=first_ms)
            else:
                self.stamp(item, 1)
            self.flights.append((item, self.rows[item.batch.entry]))
            self.may_die()
        self.write_numbers()

    def stamp(self, item: Item, attempts: int) -> None:
        assert item.epoch <= EPOCH_MAX
        numbers = (item.producer_id, item.epoch, item.sequence)
        self.rows[item.batch.entry] = replace(
            self.rows[item.batch.entry],
            is_stamped=True,
            numbers=numbers,
            attempts=attempts,
            flags=item.flags,
            first_send_ms=self.now_ms,
        )
        item.stamped = True

    def write_numbers(self) -> None:
        if self.lane.wants_identity is Want.FRESH:
            self.identify()
        for item in self.lane.renumbering:
            self.may_die()
            self.stamp(item, 0)
        if self.lane.renumbering:
            self.may_die()
            self.lane.renumbered()

    # -- the brokers

    def arrive(self, row: Row) -> tuple[int, int]:
        ids = set(row.ids)
        if len(ids) > self.limit:
            return TOO_LARGE, -1
        if self.refused & ids:
            return REFUSED, -1
        if self.bad & ids:
            return RECORD_REFUSED, -1
        if self.random.random() < self.trouble.passing:
            return self.random.choice(PASSING), -1
        if self.random.random() < 0.05:
            return self.random.choice(NOTHING_WRITTEN), -1
        code, offset = self.replicas.append(row)
        if code == 0 and self.random.random() < 0.05:
            return self.random.choice(PERHAPS_WRITTEN), -1
        return code, offset

    def forget(self, chance: float) -> None:
        if chance < 0.03:
            # what is late would be taken once more, and nobody could know
            self.late = []
            self.replicas.expire(self.now_ms)
        elif chance < 0.04:
            self.cut()
            self.wait()

    def wait(self) -> None:
        self.flights = []
        self.late = []
        hours_ms = self.random.choice((1, 20, 23, 25, 60)) * HOUR_MS
        self.now_ms += hours_ms
        self.tick_ms += hours_ms
        self.replicas.expire(self.now_ms)

    # -- answers

    def answer(self, item: Item, row: Row) -> None:
        code, offset = self.arrive(row)
        if code:
            named = [at for at, one in enumerate(row.ids) if one in self.bad] or [0]
            errors = tuple((at, "bad") for at in named) if code == RECORD_REFUSED else ()
            self.lane.failed(item, code, self.tick_ms, errors)
            return
        for settled in self.lane.succeeded(item, offset, self.now_ms):
            self.may_die()
            self.delivered += settled.batch.ids
            if settled.risk:
                self.risky.update(settled.batch.ids)
            del self.rows[settled.batch.entry]

    def cut(self) -> None:
        """The connection dies."""
        flights, self.flights = self.flights, []
        at = self.random.randint(0, len(flights))
        for _, row in flights[:at]:
            self.arrive(row)
        if self.random.random() < 0.3:
            self.late += [row for _, row in flights[at:]][: self.random.randint(0, 2)]
        for item, _ in flights:
            self.lane.failed(item, NETWORK_EXCEPTION, self.tick_ms)

    def apply(self, steps: list[Step]) -> None:
        for step in steps:
            self.may_die()
            if isinstance(step, Fail):
                self.fail(step.item.batch.ids, maybe=step.maybe)
                del self.rows[step.item.batch.entry]
            elif isinstance(step, Repair):
                self.repair(step)
            elif isinstance(step, Split):
                self.split(step)
            else:
                assert isinstance(step, Suspicion)
        self.write_numbers()

    def fail(self, ids: tuple[int, ...], *, maybe: bool) -> None:
        self.failed += ids
        if maybe:
            self.maybe.update(ids)

    def repair(self, step: Repair) -> None:
        row = self.rows[step.item.batch.entry]
        gone = {at for at, _ in step.errors}
        self.fail(tuple(one for at, one in enumerate(row.ids) if at in gone), maybe=step.item.risk)
        left = tuple(one for at, one in enumerate(row.ids) if at not in gone)
        self.rows[row.entry] = row = replace(row, ids=left, is_stamped=False)
        step.item.batch = row.snapshot()

    def split(self, step: Split) -> None:
        """As ``Outcomes`` and the arena do it."""
        item = step.item
        row = self.rows[item.batch.entry]
        at = self.random.randint(1, len(row.ids) - 1)
        is_numbered = item.sequence >= 0
        flags = item.flags & FLAG_CUT | (FLAG_CUT if step.maybe and is_numbered else 0)
        flags |= FLAG_RISK if item.risk or (step.maybe and not is_numbered) else 0
        producer_id, epoch, sequence = row.numbers
        behind = (producer_id, epoch, (sequence + at) & SEQUENCE_MASK if producer_id >= 0 else -1)
        first = replace(row, ids=row.ids[:at], is_stamped=False, flags=flags, attempts=0)
        second = replace(first, entry=self.next_entry, number=row.number + at, ids=row.ids[at:], numbers=behind)
        self.next_entry += 1
        self.rows[first.entry], self.rows[second.entry] = first, second
        self.lane.divided(step, first.snapshot(), second.snapshot())

    # -- the judge

    def judge(self) -> None:
        """Nothing is lost silently, and whatever may be there twice was told as such; in order, if nothing was
        forgotten, but for what was given up."""
        data = b"".join(batch.payload for batch in self.replicas.log.batches)
        log = [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]
        found = Counter(log)
        assert sorted(self.delivered + self.failed) == list(range(self.records))
        assert [one for one in self.delivered if not found[one]] == []
        assert [one for one in self.failed if found[one] and one not in self.maybe] == []
        assert {one for one, count in found.items() if count > 1} - self.risky - self.maybe == set()
        if not (self.trouble.forgetful or self.trouble.toggling):
            first = list(dict.fromkeys(one for one in log if one not in self.maybe))
            assert first == sorted(first)
