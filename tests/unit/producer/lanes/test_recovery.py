"""The order of a dead process's batches, and what a crash had cut in half."""

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from ingestd.hotpath.snapshots import Batch, BatchState
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import (
    EPOCH_MAX,
    FLAG_CUT,
    FLAG_RISK,
    FLAG_RISK_BEHIND,
    SEQUENCE_MASK,
    Fail,
    Item,
    Numbers,
    Split,
    Suspicion,
    recovered_item,
)
from ingestd.producer.lanes.lane import Want
from ingestd.producer.lanes.recovery import Run, joined, plan
from tests.fakes.partition_log import PartitionLog

NOW_MS = 1600


def make(number: int, numbers: tuple[int, int, int] | None = None, *, attempts: int = 1, **changes: Any) -> Item:
    producer_id, epoch, sequence = numbers or (-1, -1, -1)
    batch = Batch(
        entry=number,
        topic=0,
        partition=0,
        record_count=2,
        size_bytes=100,
        created_ms=1,
        base_timestamp_ms=1000,
        max_timestamp_ms=2000,
        codec=0,
        state=BatchState.STAMPED if numbers else BatchState.SEALED,
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=sequence,
        first_send_ms=1500 if attempts and numbers else 0,
        attempts=attempts if numbers else 0,
        stamp_flags=0,
        number=number,
    )
    return recovered_item(None, batch._replace(**changes), 0)


def entries(items: list[Item]) -> list[int]:
    return [item.batch.entry for item in items]


def stamps(items: list[Item]) -> list[tuple[int, int, int]]:
    return [(item.producer_id, item.epoch, item.sequence) for item in items]


def test_stamped_batches_keep_their_numbers_and_sealed_ones_follow() -> None:
    [run], sealed = plan([make(1, (7, 0, 10)), make(2, (7, 0, 12)), make(3)])
    assert stamps(run.items) == [(7, 0, 10), (7, 0, 12)]
    assert (run.numbers.producer_id, run.numbers.epoch, run.numbers.next_sequence) == (7, 0, 14)
    assert run.renumbered == []
    assert entries(sealed) == [3]


def test_what_was_attempted_is_in_doubt_and_as_old_as_its_first_send() -> None:
    attempted, untouched = make(1, (7, 0, 0)), make(2, (7, 0, 2), attempts=0)
    assert (attempted.in_doubt, attempted.oldest_ms) == (True, 1500)
    assert (untouched.in_doubt, untouched.oldest_ms) == (False, 2000)


def test_the_risk_of_a_duplicate_is_remembered() -> None:
    assert make(1, (7, 1, 0), stamp_flags=FLAG_RISK).risk
    assert not make(1, (7, 1, 0)).risk


def test_each_producer_id_is_a_run_of_its_own() -> None:
    runs, _ = plan([make(1, (7, 0, 0)), make(2, (9, 0, 0)), make(3, (9, 0, 2))])
    assert [entries(run.items) for run in runs] == [[1], [2, 3]]


def test_a_renumbering_cut_in_half_is_finished() -> None:
    [run], _ = plan([make(1, (7, 1, 0)), make(2, (7, 0, 40)), make(3, (7, 0, 42))])
    assert stamps(run.items) == [(7, 1, 0), (7, 1, 2), (7, 1, 4)]
    assert entries(run.renumbered) == [2, 3]
    assert not run.items[1].in_doubt


def test_a_renumbering_at_risk_cut_in_half_keeps_the_risk() -> None:
    done = make(1, (7, 1, 0), attempts=0, stamp_flags=FLAG_RISK | FLAG_RISK_BEHIND)
    [run], _ = plan([done, make(2, (7, 0, 40)), make(3, (7, 0, 42), attempts=0)])
    assert [(item.in_doubt, item.risk) for item in run.items] == [(False, True), (False, True), (False, False)]


def test_the_flag_of_a_renumbering_says_what_was_still_to_come() -> None:
    lane = Lane("t", 0, lambda _: 0)
    items = [make(number, (7, 0, 2 * number)) for number in range(3)]
    items[2].in_doubt = False
    lane.add_run(items, Numbers(7, 0, 6), [])
    assert lane.take(NOW_MS, 0) is items[0]
    lane.failed(items[0], 47, 0)
    lane.resolve(0)
    lane.identity(8, 0)
    assert [item.flags for item in lane.renumbering] == [FLAG_RISK | FLAG_RISK_BEHIND, FLAG_RISK, 0]


def test_a_repair_cut_in_half_goes_in_front_at_the_next_epoch() -> None:
    [run], sealed = plan([make(1), make(2, (7, 0, 40)), make(3, (7, 0, 42)), make(4)])
    assert stamps(run.items) == [(7, 1, 0), (7, 1, 2), (7, 1, 4)]
    assert entries(run.renumbered) == [1, 2, 3]
    assert [(item.in_doubt, item.risk) for item in run.items] == [(False, False), (False, True), (False, True)]
    assert entries(sealed) == [4]


def sealed_again(number: int, numbers: tuple[int, int, int], **changes: Any) -> Item:
    return make(number, numbers, state=BatchState.SEALED, attempts=0, **changes)


def test_halves_and_what_is_behind_them_keep_their_numbers_in_whatever_arenas_they_are() -> None:
    halves = [sealed_again(1, (7, 0, 40)), sealed_again(2, (7, 0, 42))]
    for arenas in ([[*halves], [make(3, (7, 0, 44)), make(4)]], [[make(3, (7, 0, 44)), make(4)], [*halves]]):
        [run], sealed = plan(joined(arenas))
        assert stamps(run.items) == [(7, 0, 40), (7, 0, 42), (7, 0, 44)]
        assert entries(run.renumbered) == [1, 2]
        assert entries(sealed) == [4]


def test_halves_of_a_batch_in_doubt_are_in_doubt() -> None:
    half = sealed_again(1, (7, 0, 40), stamp_flags=FLAG_CUT)
    assert half.in_doubt
    assert half.flags == FLAG_CUT
    assert not sealed_again(1, (7, 0, 40)).in_doubt


def test_a_repair_in_one_arena_goes_before_what_is_behind_it_in_another() -> None:
    for first in (0, 1):
        arenas = [[sealed_again(1, (7, 0, 40), record_count=1)], [make(2, (7, 0, 42))]]
        [run], _ = plan(joined((arenas[first], arenas[1 - first])))
        assert entries(run.items) == [1, 2]
        assert stamps(run.items) == [(7, 1, 0), (7, 1, 1)]
        assert entries(run.renumbered) == [1, 2]
        assert [item.risk for item in run.items] == [False, True]


def test_what_was_taken_ahead_of_others_has_not_proven_them() -> None:
    [run], _ = plan([make(1, (7, 0, 40)), make(2, (7, 0, 42)), make(3, (7, 0, 46)), make(4, (7, 0, 48))])
    assert [item.overtaken for item in run.items] == [True, True, False, False]


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_repair_cut_in_half_at_the_last_epoch_never_has_one_that_cannot_be(idempotent: bool) -> None:
    [run], _ = plan([sealed_again(1, (7, EPOCH_MAX, 40), record_count=1), make(2, (7, EPOCH_MAX, 42))])
    lane = Lane("t", 0, lambda _: 0, idempotent=idempotent)
    lane.add_run(*run)
    assert lane.take(NOW_MS, 0) is None
    if idempotent:
        assert lane.wants_identity is Want.FRESH
        lane.identity(9, 0)
    assert entries(lane.renumbering) == [1, 2]
    assert stamps(lane.renumbering) == ([(9, 0, 0), (9, 0, 1)] if idempotent else [(-1, -1, -1)] * 2)
    lane.renumbered()
    assert lane.take(NOW_MS, 0) is run.items[0]


def test_a_repair_with_nothing_behind_it_keeps_its_first_number() -> None:
    [run], _ = plan([sealed_again(1, (7, 0, 40), record_count=1), make(2)])
    assert (stamps(run.items), entries(run.renumbered)) == ([(7, 0, 40)], [1])


def test_a_repair_cut_in_half_without_idempotence_goes_in_front() -> None:
    [run], sealed = plan([make(1), make(2, (-1, -1, -1)), make(3)])
    assert entries(run.items) == [1, 2]
    assert entries(sealed) == [3]


def test_batches_sent_without_idempotence_ask_for_numbers() -> None:
    [run], _ = plan([make(1, (-1, -1, -1)), make(2, (-1, -1, -1))])
    assert isinstance(run, Run)
    assert run.numbers.epoch == EPOCH_MAX + 1
    assert entries(run.items) == [1, 2]
    # None may go ahead to tell of another: under numbers that it does not know, a broker takes any.
    assert [(item.risk, item.in_doubt) for item in run.items] == [(True, False), (True, False)]


def test_arenas_drained_together_are_one_sequence_in_any_order() -> None:
    old, own = [make(1, (7, 0, 40)), make(2, (7, 0, 42)), make(3)], [make(4, (7, 0, 44)), make(5)]
    for arenas in ([old, own], [own, old]):
        [run], sealed = plan(joined(arenas))
        assert entries(run.items) == [1, 2, 4]
        assert entries(sealed) == [*entries([item for items in arenas for item in items if not item.stamped])]


def test_a_renumbering_cut_in_half_between_two_arenas_is_finished() -> None:
    [run], _ = plan(joined([[make(3, (7, 0, 44))], [make(1, (7, 1, 0)), make(2, (7, 0, 42))]]))
    assert stamps(run.items) == [(7, 1, 0), (7, 1, 2), (7, 1, 4)]
    assert entries(run.items) == [1, 2, 3]


def test_sequences_that_wrap_are_joined_in_their_order() -> None:
    last = SEQUENCE_MASK - 1
    items = joined([[make(2, (7, 0, 0))], [make(1, (7, 0, last)), make(3, (7, 0, 2))]])
    assert entries(items) == [1, 2, 3]


def test_what_was_never_sent_of_one_arena_is_no_repair_cut_in_half_in_another() -> None:
    runs, sealed = plan(joined([[make(1)], [make(2, (7, 0, 0))], [make(3, (9, 0, 0)), make(4)]]))
    assert [stamps(run.items) for run in runs] == [[(7, 0, 0)], [(9, 0, 0)]]
    assert entries(sealed) == [1, 4]


# -- processes that die at random, one after the other, on one partition


SECOND = 1000
"""Added to the entry of a batch: that of its second half."""
ARENA = 2
"""So many batches, and the next ones are in another arena."""


def ids_of(batch: Batch) -> bytes:
    """The records of batch n are 2 n and 2 n + 1."""
    first = 2 * (batch.entry % SECOND)
    if batch.record_count == 2:
        return bytes((first, first + 1))
    return bytes((first + batch.entry // SECOND,))


def half(batch: Batch, entry: int, flags: int) -> Batch:
    """As the arena has it once it is split: sealed again, with its part of the numbers."""
    return batch._replace(
        entry=entry,
        number=entry % SECOND + entry // SECOND / 2,  # type: ignore[arg-type]  # any order will do
        record_count=1,
        state=BatchState.SEALED,
        base_sequence=batch.base_sequence + entry // SECOND,
        attempts=0,
        stamp_flags=flags,
    )


class Life:
    """What is in the arena, the broker's log, and a process that may die anywhere; its requests may arrive later."""

    def __init__(self, seed: int, batches: int, *, damaging: bool = False, splitting: bool = False) -> None:
        self.random = Random(seed)
        self.splitting = splitting
        """Some batches are too large for the broker, each half of one is not."""
        self.damaging = damaging
        """The broker's memory changes now and then, to what fits nothing that was sent."""
        self.risky: set[int] = set()
        self.maybe: set[int] = set()
        self.log = PartitionLog()
        self.batches = batches
        self.sealed = 0
        self.arena: dict[int, Batch] = {}
        self.delivered: list[int] = []
        self.failed: list[int] = []
        self.late: list[Batch] = []
        self.next_producer_id = 0
        self.suspicions = 0
        self.gaps_left = 0

    def run(self) -> None:
        while self.arena or self.sealed < self.batches:
            self.live()

    def fresh(self, lane: Lane) -> None:
        lane.identity(self.next_producer_id, 0)
        self.next_producer_id += 1

    def dies(self) -> bool:
        return self.random.random() < 0.02

    def live(self) -> None:
        lane = Lane("t", 0, lambda _: 0)
        arenas: dict[int, list[Item]] = {}
        for batch in sorted(self.arena.values(), key=lambda b: b.number):
            arenas.setdefault(batch.entry % SECOND // ARENA, []).append(recovered_item(None, batch, 0))
        runs, sealed = plan(joined(arenas.values()))
        for run in runs:
            lane.add_run(*run)
        for item in sealed:
            lane.enqueue(item)
        self.fresh(lane)
        flights: list[tuple[Item, Batch]] = []
        while lane.has_work or self.sealed < self.batches:
            if self.dies():
                arrived = self.random.randint(0, len(flights))
                for _, batch in flights[:arrived]:
                    self.arrive(batch)
                self.late += [batch for _, batch in flights[arrived:]][: self.random.randint(0, 3)]
                if self.random.random() < 0.5:
                    self.log.restart()
                self.damage(0.2)
                return
            if not self.step(lane, flights):
                return

    def step(self, lane: Lane, flights: list[tuple[Item, Batch]]) -> bool:
        """False: it died in the middle of writing numbers."""
        chance = self.random.random()
        if self.sealed < self.batches and chance < 0.3:
            batch = make(self.sealed, None).batch
            self.arena[self.sealed] = batch
            self.sealed += 1
            lane.enqueue(Item(None, batch, 0))
        if self.late and chance > 0.7:
            self.arrive(self.late.pop(0))
        if chance < 0.6 and not self.send(lane, flights):
            return False
        if flights and chance > 0.4:
            item, batch = flights.pop(0)
            self.answer(lane, item, self.arrive(batch))
        return not lane.must_resolve or self.resolve(lane)

    def damage(self, chance: float) -> None:
        if self.damaging and self.random.random() < chance:
            for state in self.log.producers.values():
                state.batches = [replace(state.batches[-1], sequence=1 << 30)]

    def put(self, item: Item, attempts: int) -> Batch:
        entry = item.batch.entry
        self.arena[entry] = batch = self.arena[entry]._replace(
            state=BatchState.STAMPED,
            producer_id=item.producer_id,
            producer_epoch=item.epoch,
            base_sequence=item.sequence,
            attempts=attempts,
            stamp_flags=item.flags,
        )
        return batch

    def send(self, lane: Lane, flights: list[tuple[Item, Batch]]) -> bool:
        while (item := lane.take(NOW_MS, 0)) is not None:
            if not item.stamped:
                self.put(item, 0)
                item.stamped = True
                if self.dies():
                    return False
            flights.append((item, self.put(item, item.attempts)))
        return not lane.renumbering or self.write_numbers(lane)

    def write_numbers(self, lane: Lane) -> bool:
        for index, item in enumerate(lane.renumbering):
            if self.dies() or (self.damaging and self.random.random() < 0.2):
                # Nothing written yet: its successor finds a gap that looks as if the broker had lost something.
                self.gaps_left += index == 0
                return False
            self.put(item, 0)
            item.stamped = True
        lane.renumbered()
        return True

    def arrive(self, batch: Batch) -> tuple[int, int]:
        if batch.entry % SECOND % 13 == 6:
            return 44, -1
        if self.splitting and batch.entry % SECOND % 5 == 2 and batch.record_count == 2:
            return 10, -1
        if self.random.random() < 0.05:
            return 19, -1
        numbers = (batch.producer_id, batch.producer_epoch, batch.base_sequence)
        code, offset, _ = self.log.append(*numbers, batch.record_count, NOW_MS, ids_of(batch))
        return (7, -1) if code == 0 and self.random.random() < 0.05 else (code, offset)

    def split(self, lane: Lane, step: Split) -> None:
        entry = step.item.batch.entry
        flags = (FLAG_CUT if step.maybe else 0) | (FLAG_RISK if step.item.risk else 0)
        whole = self.arena[entry]
        for each in (entry, entry + SECOND):
            self.arena[each] = half(whole, each, flags)
        lane.divided(step, self.arena[entry], self.arena[entry + SECOND])

    def answer(self, lane: Lane, item: Item, answer: tuple[int, int]) -> None:
        code, offset = answer
        if code:
            lane.failed(item, code, 0)
            return
        for settled in lane.succeeded(item, offset, NOW_MS):
            self.delivered += ids_of(settled.batch)
            if settled.risk:
                self.risky.update(ids_of(settled.batch))
            del self.arena[settled.batch.entry]

    def resolve(self, lane: Lane) -> bool:
        for step in lane.resolve(0):
            if isinstance(step, Suspicion):
                self.suspicions += 1
                continue
            if isinstance(step, Split):
                if self.dies():
                    return False
                self.split(lane, step)
                continue
            assert isinstance(step, Fail)
            self.failed += ids_of(step.item.batch)
            if step.maybe:
                self.maybe.update(ids_of(step.item.batch))
            del self.arena[step.item.batch.entry]
        if lane.wants_identity is Want.FRESH:
            self.fresh(lane)
        return not lane.renumbering or self.write_numbers(lane)


REFUSED = [number for number in range(160) if number // 2 % 13 == 6]
TAKEN = [number for number in range(160) if number // 2 % 13 != 6]


@pytest.mark.parametrize("seed", range(200))
def test_deaths_at_any_point_neither_lose_nor_repeat_nor_reorder(seed: int) -> None:
    life = Life(seed, 80)
    life.run()
    assert list(b"".join(batch.payload for batch in life.log.batches)) == TAKEN
    assert sorted(life.delivered) == TAKEN
    assert sorted(life.failed) == REFUSED
    assert life.suspicions <= life.gaps_left


@pytest.mark.parametrize("seed", range(200))
def test_deaths_in_the_middle_of_a_split_neither_lose_nor_repeat_nor_reorder(seed: int) -> None:
    life = Life(seed, 80, splitting=True)
    life.run()
    assert list(b"".join(batch.payload for batch in life.log.batches)) == TAKEN
    assert sorted(life.delivered) == TAKEN
    assert sorted(life.failed) == REFUSED


@pytest.mark.parametrize("splitting", [False, True])
@pytest.mark.parametrize("seed", range(200))
def test_deaths_in_the_middle_of_new_numbers_lose_nothing_and_count_what_may_be_there_twice(
    seed: int, splitting: bool
) -> None:
    life = Life(seed, 80, damaging=True, splitting=splitting)
    life.run()
    log = Counter(b"".join(batch.payload for batch in life.log.batches))
    assert sorted(life.delivered + life.failed) == list(range(160))
    assert [number for number in life.delivered if not log[number]] == []
    assert [number for number in life.failed if log[number] and number not in life.maybe] == []
    assert {number for number, count in log.items() if count > 1} - life.risky - life.maybe == set()
