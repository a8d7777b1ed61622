"""The order of a dead process's batches, and what a crash had cut in half."""

from typing import Any

from ingestd.hotpath.snapshots import Batch, BatchState
from ingestd.producer.item import EPOCH_MAX, FLAG_RISK, Item, recovered_item
from ingestd.producer.recovery import Run, plan


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


def test_a_repair_cut_in_half_goes_in_front_at_the_next_epoch() -> None:
    [run], sealed = plan([make(1), make(2, (7, 0, 40)), make(3, (7, 0, 42)), make(4)])
    assert stamps(run.items) == [(7, 1, 0), (7, 1, 2), (7, 1, 4)]
    assert entries(run.renumbered) == [1, 2, 3]
    assert entries(sealed) == [4]


def test_batches_sent_without_idempotence_ask_for_numbers() -> None:
    [run], _ = plan([make(1, (-1, -1, -1)), make(2, (-1, -1, -1))])
    assert isinstance(run, Run)
    assert run.numbers.epoch == EPOCH_MAX + 1
    assert entries(run.items) == [1, 2]
    assert run.items[0].risk
