"""The order in which a dead process's batches go out again (docs/kafka.md 8). Pure.

Stamped batches keep producer id, epoch and sequence and go first, one run per (producer id, epoch). Two things that a
crash can have cut in half are finished here, both known by the order of the batches' numbers: a renumbering (a batch
with a lower epoch behind one with a higher), and a repair (a batch that is sealed once more, with a gap behind its
numbers). What such an operation had decided stays decided: those batches cannot be in the log under their old numbers,
unless the renumbering was one at risk (FLAG_RISK_BEHIND), or a repair, of which nothing tells. The halves of a split
have their numbers from the beginning, and are only stamped here.

A gap between stamped batches of one epoch: what had those numbers was taken ahead of what is before the gap, by a
broker that had shown no memory. No success behind proves that (``Item.overtaken``).

A batch that is sealed once more without numbers was sent without idempotence.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ingestd.producer.lanes.item import EPOCH_MAX, SEQUENCE_MASK, Item, Numbers


class Run(NamedTuple):
    """``renumbered``: those of ``items`` whose numbers differ from what the arena holds."""

    items: list[Item]
    numbers: Numbers
    renumbered: list[Item]


def joined(arenas: Iterable[Sequence[Item]]) -> list[Item]:
    """One partition's batches of several arenas, each oldest first, in one order for ``plan``.

    A process numbers the batches of all its arenas as one sequence, so what is stamped under one producer id belongs
    together, in the order of the numbers. What was only sealed at the end of an arena follows behind all stamped ones.
    """
    blocks: dict[int, list[list[list[Item]]]] = {}
    tails: list[Item] = []
    for arena in arenas:
        found: dict[int, list[list[Item]]] = {}
        block: list[Item] = []
        for item in arena:
            block.append(item)
            if item.is_numbered:
                found.setdefault(item.producer_id, []).append(block)
                block = []
        tails += block
        for producer_id, some in found.items():
            blocks.setdefault(producer_id, []).append(some)
    items: list[Item] = []
    for producer_id, parts in blocks.items():
        merged = [block for part in parts for block in part]
        if len(parts) > 1 and producer_id >= 0:
            first = merged[0][-1].sequence
            merged.sort(key=lambda block: _place(block[-1], first))
        items += [item for block in merged for item in block]
    return items + tails


def _place(item: Item, near: int) -> tuple[int, int]:
    """A renumbering begins at the front, so the higher epoch is in front; sequences near each other may wrap."""
    ahead = (item.sequence - near) & SEQUENCE_MASK
    return -item.epoch, ahead if ahead <= SEQUENCE_MASK // 2 else ahead - SEQUENCE_MASK - 1


def plan(items: Sequence[Item]) -> tuple[list[Run], list[Item]]:
    """``items`` of one partition, oldest first → (runs to resend, sealed batches behind them)."""
    runs: list[Run] = []
    sealed: list[Item] = []
    at_risk = False
    for item in items:
        if not item.is_numbered:
            sealed.append(item)
        elif item.producer_id < 0:
            # Sent without idempotence. Taken over under numbers of its own; an epoch that cannot be asks for them.
            _add_unnumbered(runs, [*sealed, item])
            sealed = []
        elif sealed and _belongs(sealed, item, runs):
            at_risk = _rejoin(runs[-1], sealed, item, at_risk)
            sealed = []
        elif sealed:
            at_risk = True
            _settle_doubt(item, at_risk)
            numbers = Numbers(item.producer_id, item.epoch + 1)
            for one in (*sealed, item):
                numbers.give(one)
            runs.append(Run([*sealed, item], numbers, [*sealed, item]))
            sealed = []
        elif runs and runs[-1].numbers.producer_id == item.producer_id and item.epoch <= runs[-1].numbers.epoch:
            run = runs[-1]
            if item.epoch < run.numbers.epoch:
                run.numbers.give(item)
                _settle_doubt(item, at_risk)
                run.renumbered.append(item)
            elif not run.items[-1].stamped and item.sequence != run.numbers.next_sequence:
                at_risk = True
                run = runs[-1] = _behind_a_repair(run, item)
            else:
                _go_on(run, item)
                at_risk = item.risk_behind
            run.items.append(item)
        else:
            runs.append(Run([], Numbers(item.producer_id, item.epoch, item.sequence), []))
            _go_on(runs[-1], item)
            runs[-1].items.append(item)
            at_risk = item.risk_behind
    return runs, sealed


def _belongs(sealed: Sequence[Item], item: Item, runs: Sequence[Run]) -> bool:
    """Whether ``sealed``, in front of the stamped ``item``, are what a split had left to number in the last run."""
    numbers = runs[-1].numbers if runs else None
    if numbers is None or numbers.producer_id != item.producer_id:
        return False
    after = numbers.next_sequence + sum(one.record_count for one in sealed)
    return item.epoch < numbers.epoch or (item.epoch == numbers.epoch and after & SEQUENCE_MASK == item.sequence)


def _rejoin(run: Run, sealed: Sequence[Item], item: Item, at_risk: bool) -> bool:
    """``sealed`` go on under the run's numbers: those of the whole that they were, or those that all were to have."""
    for one in sealed:
        run.numbers.give(one)
    run.items.extend((*sealed, item))
    run.renumbered.extend(sealed)
    if item.epoch == run.numbers.epoch:
        _go_on(run, item)
        return item.risk_behind
    run.numbers.give(item)
    _settle_doubt(item, at_risk)
    run.renumbered.append(item)
    return at_risk


def _settle_doubt(item: Item, at_risk: bool) -> None:
    """``item`` leaves its old numbers behind."""
    item.risk = item.risk or (at_risk and item.in_doubt)
    item.in_doubt = False


def _go_on(run: Run, item: Item) -> None:
    """``item`` keeps its numbers; the arena still has to be told where it is sealed."""
    if item.sequence != run.numbers.next_sequence:
        # What had the numbers between was taken ahead of those before it, which proved nothing of them.
        for before in run.items:
            before.overtaken = True
    _follow(run.numbers, item)
    if not item.stamped:
        run.renumbered.append(item)


def _behind_a_repair(run: Run, item: Item) -> Run:
    """All of ``run``, which ends with a repaired batch, and ``item`` behind it, at the next epoch."""
    numbers = Numbers(item.producer_id, item.epoch + 1)
    for one in (*run.items, item):
        _settle_doubt(one, at_risk=True)
        numbers.give(one)
    return Run(run.items, numbers, [*run.items, item])


def _follow(numbers: Numbers, item: Item) -> None:
    """The numbers go on behind ``item``, which has some already."""
    own = item.sequence
    numbers.next_sequence = own
    numbers.give(item)


def _add_unnumbered(runs: list[Run], items: Sequence[Item]) -> None:
    if not runs or runs[-1].numbers.epoch <= EPOCH_MAX:
        runs.append(Run([], Numbers(-1, EPOCH_MAX + 1), []))
    for item in items:
        # Under the numbers to come, no attempt was made.
        _settle_doubt(item, at_risk=True)
        runs[-1].items.append(item)
