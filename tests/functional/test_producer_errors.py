"""Every error code, and what becomes of its batch; the last error told at a timeout; lost order; lost logs."""

import asyncio
from collections.abc import Coroutine
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import uvloop

from ingestd.figures import Count
from ingestd.kafka.errors import ERRORS, Action
from ingestd.metrics import Failed
from ingestd.producer.common import SystemClock
from tests.fakes.broker import CLOSE, PRODUCE, SILENCE, FakeCluster, error
from tests.functional.producer_rig import Rig, Skipping, lines_of, running


def run(scenario: Coroutine[Any, Any, None]) -> None:
    uvloop.run(scenario)


def counted(rig: Rig, count: Count) -> int:
    return rig.producer.meter.figures.counts[count]


@pytest.mark.parametrize("code", [code for code in ERRORS if code not in (0, 13)])
def test_what_becomes_of_a_batch_that_meets_a_code_once(code: int) -> None:
    """As docs/errors.md says: it fails, or it is delivered, once and in order, whatever was behind it."""
    row = ERRORS[code]

    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            rig.send(b"first")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, error(code, append=row.action is Action.DONE))
            for line in (b"a", b"b", b"c"):
                rig.send(line)
            await rig.idle()
            written = lines_of(cluster.log("t"))
            if row.action is Action.REFUSED:
                assert written == [b"first", b"b", b"c"]
                reason = Failed.MESSAGE_TOO_LARGE if row.too_large else Failed.BROKER_REFUSED
                assert rig.events.failed == [(reason, code, False)]
                assert row.name in caught(rig)
            else:
                assert written == [b"first", b"a", b"b", b"c"]
                assert rig.events.failed == []
            assert rig.arena.ledger()["possible_duplicates"] == 0

    def caught(rig: Rig) -> str:
        return " ".join(ERRORS[found].name for _, found, _ in rig.events.failed)

    run(scenario())


@pytest.mark.parametrize(
    ("acks", "idempotent", "in_flight", "kept"),
    [(-1, True, 5, True), (-1, False, 1, True), (-1, False, 5, False), (1, False, 5, False)],
)
def test_with_several_requests_in_flight_and_no_idempotence_a_retry_breaks_the_order(
    acks: int, idempotent: bool, in_flight: int, kept: bool
) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        changes = {"acks": acks, "max_in_flight_requests_per_connection": in_flight}
        async with running(cluster, enable_idempotence=idempotent, **changes) as rig:
            rig.send(b"0")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, error(19))
            for number in range(1, 5):
                rig.send(b"%d" % number)
            await rig.idle()
            written = lines_of(cluster.log("t"))
            assert sorted(written) == [b"0", b"1", b"2", b"3", b"4"]
            assert (written == sorted(written)) is kept

    run(scenario())


def test_a_timeout_tells_what_the_broker_said_last() -> None:
    async def scenario() -> None:
        clock = Skipping()
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, delivery_timeout_ms=2000, producer_clock=clock) as rig:
            cluster.brokers[1].control(PRODUCE, error(19), times=100_000)
            # the first is sent and waits for ever; the second is never sent
            rig.send(b"a")
            await rig.until(lambda: cluster.brokers[1].requests[PRODUCE] >= 2)
            rig.send(b"b")
            clock.skipped_ms = 2000
            await rig.until(lambda: rig.events.failed)
            assert rig.events.failed == [(Failed.DELIVERY_TIMEOUT, 19, False)]
            assert "last error NOT_ENOUGH_REPLICAS" in rig.events.texts[0]
            cluster.brokers[1].clear_controls()
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a"]

    run(scenario())


def test_a_timeout_tells_that_the_broker_could_not_be_reached() -> None:
    async def scenario() -> None:
        clock = Skipping()
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, delivery_timeout_ms=2000, producer_clock=clock) as rig:
            rig.send(b"a")
            await rig.idle()
            await cluster.brokers[1].stop()
            await rig.until(lambda: not rig.producer.brokers_connected)
            rig.send(b"b")
            await rig.until(lambda: rig.producer._brokers.by_node[1].failures)
            clock.skipped_ms = 2000
            await rig.until(lambda: rig.events.failed)
            assert rig.events.failed == [(Failed.DELIVERY_TIMEOUT, 13, False)]
            assert f"NETWORK_EXCEPTION: 127.0.0.1:{cluster.brokers[1].port}: " in rig.events.texts[0]

    run(scenario())


def test_where_attempted_batches_expire_they_may_have_been_written_and_leave_no_gap() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        clock = Skipping()
        changes: dict[str, Any] = {"delivery_timeout_ms": 2000, "request_timeout_ms": 60_000}
        async with running(cluster, expires_attempted=True, producer_clock=clock, **changes) as rig:
            rig.send(b"a")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, lambda request: (request.handle(), SILENCE)[1])
            rig.send(b"b")
            await rig.until(lambda: cluster.brokers[1].requests[PRODUCE] == 2)
            clock.skipped_ms = 2000
            await rig.until(lambda: rig.events.failed)
            assert rig.events.failed == [(Failed.MAY_HAVE_BEEN_WRITTEN, 0, True)]
            assert "it may have been written" in rig.events.texts[0]
            cluster.brokers[1].cut()
            rig.send(b"c")
            await rig.idle()
            log = cluster.log("t")
            assert lines_of(log) == [b"a", b"b", b"c"]
            assert [(batch.epoch, batch.sequence) for batch in log.batches] == [(0, 0), (0, 1), (1, 0)]
            assert counted(rig, Count.DATA_LOSS_SUSPECTED) == 0
            ledger = rig.arena.ledger()
            assert (ledger["delivered"], ledger["failed"]) == (2, 1)

    run(scenario())


@pytest.mark.parametrize("benign", [False, True])
def test_a_log_that_lost_what_it_had_acknowledged_is_told_with_its_address(
    benign: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            for line in (b"a", b"b"):
                rig.send(line)
                await rig.idle()
            # an unclean election: another log, and a producer state that ends before what was acknowledged
            log = cluster.log("t")
            [state] = log.producers.values()
            del state.batches[1:]
            del log.batches[1:]
            cluster.brokers[1].log_start_offset = 7 if benign else 0
            rig.send(b"c")
            await rig.idle()
            assert lines_of(log) == [b"a", b"c"]
            assert counted(rig, Count.DATA_LOSS_SUSPECTED) == (0 if benign else 1)
            assert rig.losses == (
                []
                if benign
                else [
                    "t-0: data loss suspected: producer id 0 epoch 0 sequences 2..2 all refused as out of order, last"
                    " acknowledged offset 1, the log begins at 0; sent again under new numbers, 0 records may be there"
                    " twice"
                ]
            )

    run(scenario())
    told = [record.getMessage() for record in caplog.records if "producer id 0" in record.getMessage()]
    assert len(told) == 1
    assert ("retention" in told[0]) is benign


def test_an_acknowledgement_below_an_earlier_one_is_told_with_its_address() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            for line in (b"a", b"b", b"c"):
                rig.send(line)
                await rig.idle()
            cluster.log("t").batches.clear()
            rig.send(b"d")
            await rig.idle()
            [told] = rig.losses
            assert "sequences 3..3 acknowledged at offset 0, after offset 2 before" in told

    run(scenario())


def test_without_acks_a_broker_that_closes_instead_of_answering_holds_nobody_up() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, acks=0, enable_idempotence=False) as rig:
            cluster.brokers[1].control(PRODUCE, lambda _: CLOSE)
            rig.send(b"a")
            await rig.idle()
            for line in (b"b", b"c"):
                rig.send(line)
                await rig.idle()
            assert {offset for _, offset, _ in rig.events.delivered} == {-1}
            await rig.until(lambda: lines_of(cluster.log("t"))[-1:] == [b"c"])

    run(scenario())


@pytest.mark.parametrize(("code", "append"), [(19, False), (20, True), (7, True)])
def test_too_few_replicas_for_a_while_leave_one_copy(code: int, append: bool) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            rig.send(b"a")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, error(code, append=append), times=6)
            rig.send(b"b")
            rig.send(b"c")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a", b"b", b"c"]
            assert rig.events.delivered == [(0, 0, 1), (0, 1, 1), (0, 2, 1)]
            ledger = rig.arena.ledger()
            assert (ledger["possible_duplicates"], ledger["delivered_unconfirmed_offsets"]) == (0, 0)

    run(scenario())


def test_a_repeat_is_answered_with_the_offset_of_the_first_append() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            for line in (b"a", b"b"):
                rig.send(line)
                await rig.idle()
            cluster.brokers[1].control(PRODUCE, lambda request: (request.handle(), CLOSE)[1])
            rig.send(b"c", b"d")
            await rig.idle()
            assert rig.events.delivered == [(0, 0, 1), (0, 1, 1), (0, 2, 2)]
            assert lines_of(cluster.log("t")) == [b"a", b"b", b"c", b"d"]

    run(scenario())


@pytest.mark.parametrize("in_flight", [1, 2, 3, 5])
def test_order_is_kept_through_random_retriable_errors(in_flight: int, seed: int) -> None:
    async def scenario() -> None:
        random = Random(seed + in_flight)
        cluster = FakeCluster(topics={"t": 1})
        changes: dict[str, Any] = {"max_in_flight_requests_per_connection": in_flight, "retry_backoff_max_ms": 20}
        async with running(cluster, **changes) as rig:
            for number in range(0, 400, 4):
                code, append = random.choice(((19, False), (6, False), (56, False), (7, True), (20, True), (74, False)))
                cluster.brokers[1].control(PRODUCE, error(code, append=append))
                for _ in range(random.randint(0, 5)):
                    cluster.brokers[1].control(PRODUCE, lambda request: request.handle())
                rig.send(*[b"%d" % each for each in range(number, number + 4)])
                await asyncio.sleep(random.choice((0, 0, 0.002)))
            await rig.idle(20)
            assert lines_of(cluster.log("t")) == [b"%d" % number for number in range(400)]
            assert rig.arena.ledger()["possible_duplicates"] == 0

    run(scenario())


class JumpingClock(SystemClock):
    """The wall clock is set now and then; the other one goes on."""

    def __init__(self) -> None:
        self.jump_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.jump_ms


def test_a_wall_clock_that_is_set_neither_expires_nor_repeats_anything() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        clock = JumpingClock()
        async with running(
            cluster, producer_clock=clock, delivery_timeout_ms=60_000, metadata_max_age_ms=600_000
        ) as rig:
            for number, jump_ms in enumerate((0, 3_600_000, -3_600_000, 40 * 86_400_000, -40 * 86_400_000, 0)):
                clock.jump_ms = jump_ms
                cluster.brokers[1].control(PRODUCE, error(19))
                for each in range(3):
                    rig.send(b"%d" % (3 * number + each))
                await rig.idle()
            assert lines_of(cluster.log("t")) == [b"%d" % number for number in range(18)]
            assert rig.events.failed == []
            assert rig.arena.ledger()["possible_duplicates"] == 0

    run(scenario())


def test_batches_that_fail_at_once_leave_the_event_loop_time_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """An arena of them takes seconds, since dead letters are written record by record."""

    async def scenario() -> None:
        clock = Skipping()
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, delivery_timeout_ms=2000, producer_clock=clock) as rig:
            rig.send(b"a")
            await rig.idle()
            await cluster.brokers[1].stop()
            await rig.until(lambda: not rig.producer.brokers_connected)
            for number in range(40):
                rig.send(b"%d" % number)

            def write(*_: Any) -> None:
                clock.skipped_ms += 15

            monkeypatch.setattr(rig.producer.dead_letters, "write", write)
            clock.skipped_ms = 2000
            seen = [0]
            while seen[-1] < 40:
                assert not rig.producer.idle
                await asyncio.sleep(0.001)
                seen.append(len(rig.events.failed))
            assert max(after - before for before, after in pairwise(seen)) <= 2
            await cluster.brokers[1].start()
            rig.send(b"b")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a", b"b"]

    run(scenario())


def test_a_batch_that_expires_may_make_room_for_the_first_of_another_partition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        cluster = FakeCluster(topics={"t": 1, "u": 1})
        clock = Skipping()
        async with running(cluster, topics=("t", "u"), delivery_timeout_ms=2000, producer_clock=clock) as rig:
            rig.send(b"a")
            await rig.idle()
            await cluster.brokers[1].stop()
            await rig.until(lambda: not rig.producer.brokers_connected)
            rig.send(b"b")
            waiting = [b"c"]

            def on_freed() -> None:
                """As the library does with records that waited for room."""
                if waiting:
                    rig.send(waiting.pop(), topic="u")

            monkeypatch.setattr(rig.events, "on_freed", on_freed)
            clock.skipped_ms = 2000
            await rig.until(lambda: rig.events.failed)
            await rig.until(lambda: not waiting)
            await asyncio.sleep(0)
            assert not faults

    run(scenario())
