"""The producer over real TCP against the scripted broker: what arrives, how often, in which order."""

from collections.abc import Coroutine
from typing import Any

import pytest
import uvloop

from ingestd.figures import Count
from ingestd.metrics import Failed
from ingestd.producer.compression import CODECS
from tests.fakes.broker import API_VERSIONS, CLOSE, INIT_PRODUCER_ID, METADATA, PRODUCE, SILENCE, FakeCluster, error
from tests.functional.producer_rig import Skipping, lines_of, running


def run(scenario: Coroutine[Any, Any, None]) -> None:
    uvloop.run(scenario)


def lines(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def taken_but_unanswered(request: Any) -> Any:
    request.handle()
    return CLOSE


def test_batches_arrive_once_and_in_order() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            for line in lines(20):
                rig.send(line)
            await rig.idle()
            assert lines_of(cluster.log("t")) == lines(20)
            assert rig.arena.ledger()["delivered"] == 20
            assert [offset for _, offset, _ in rig.events.delivered] == list(range(20))
            assert rig.leaders == {"t": b"\1"}
            assert rig.arena.cluster_id == "fake"

    run(scenario())


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches_arrive(codec: str) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, compression_type=codec) as rig:
            rig.send(*[b"%06d" % number + b"a" * 90 for number in range(2000)])
            await rig.idle()
            log = cluster.log("t")
            assert len(lines_of(log, CODECS[codec])) == 2000
            assert sum(len(batch.payload) for batch in log.batches) < 100_000

    run(scenario())


def test_what_does_not_shrink_goes_out_plain() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, compression_type="zstd") as rig:
            rig.send(b"q")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"q"]

    run(scenario())


@pytest.mark.parametrize(
    "fault",
    [
        lambda _: CLOSE,
        taken_but_unanswered,
        lambda _: SILENCE,
        error(19),
        error(7, append=True),
        error(20, append=True),
    ],
    ids=[
        "reset before",
        "reset after",
        "silence",
        "not enough replicas",
        "timed out",
        "not enough replicas after append",
    ],
)
def test_a_fault_of_one_request_neither_loses_nor_repeats_nor_reorders(fault: Any) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, request_timeout_ms=150) as rig:
            rig.send(b"first")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, fault, times=3)
            for line in lines(12):
                rig.send(line)
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"first", *lines(12)]
            assert rig.arena.ledger()["possible_duplicates"] == 0
            assert rig.producer.meter.figures.counts[Count.DATA_LOSS_SUSPECTED] == 0

    run(scenario())


@pytest.mark.parametrize("own_time_ms", [-1, 1_500_000_000_000], ids=["CreateTime", "LogAppendTime"])
def test_a_repeat_tells_the_time_that_the_first_answer_would_have_told(own_time_ms: int) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        cluster.log("t").own_time_ms = own_time_ms
        async with running(cluster) as rig:
            rig.send(b"first")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, taken_but_unanswered, times=1)
            rig.send(b"second")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"first", b"second"]
            assert rig.events.append_times_ms == [own_time_ms] * 2

    run(scenario())


def test_a_restarted_broker_that_knows_only_the_last_batch_gets_no_duplicates() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, request_timeout_ms=300) as rig:
            rig.send(b"first")
            await rig.idle()
            broker = cluster.brokers[1]
            broker.delay_s = 0.05
            for line in lines(9):
                rig.send(line)
            await rig.until(lambda: len(cluster.log("t").batches) >= 3)
            cluster.log("t").restart()
            await broker.stop()
            broker.delay_s = 0
            await broker.start()
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"first", *lines(9)]
            assert rig.producer.meter.figures.counts[Count.DATA_LOSS_SUSPECTED] == 0

    run(scenario())


def test_a_broker_that_lost_its_log_is_noticed_and_nothing_is_lost_of_what_we_hold() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            rig.send(b"a")
            rig.send(b"b")
            await rig.idle()
            log = cluster.log("t")
            log.batches.pop()
            log.producers[next(iter(log.producers))].batches.pop()
            rig.send(b"c")
            await rig.idle()
            assert lines_of(log) == [b"a", b"c"]
            assert rig.producer.meter.figures.counts[Count.DATA_LOSS_SUSPECTED] == 1
            assert rig.arena.ledger()["possible_duplicates"] == 0
            assert log.batches[-1].epoch == 1

    run(scenario())


@pytest.mark.parametrize("hints", [True, False])
def test_a_leader_change_moves_the_partition_with_its_order(hints: bool) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(nodes=2, topics={"t": 1})
        async with running(cluster) as rig:
            for broker in cluster.brokers.values():
                broker.hints = hints
            for number, line in enumerate(lines(60)):
                rig.send(line)
                if number % 20 == 10:
                    await rig.until(lambda: rig.arena.ledger()["delivered"] > 5)
                    cluster.move("t", 0, 2 - number // 20 % 2)
            await rig.idle()
            assert lines_of(cluster.log("t")) == lines(60)
            assert rig.arena.ledger()["possible_duplicates"] == 0

    run(scenario())


def test_a_silent_broker_holds_back_its_own_partitions_only() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(nodes=2, topics={"t": 2})
        async with running(cluster, partitions=2, request_timeout_ms=60_000) as rig:
            cluster.brokers[2].control(PRODUCE, lambda _: SILENCE)
            for line in lines(200):
                rig.send(line)
            await rig.until(lambda: len(lines_of(cluster.log("t", 0))) + len(rig_waiting(rig)) == 200)
            assert lines_of(cluster.log("t", 1)) == []
            assert len(lines_of(cluster.log("t", 0))) > 10

    def rig_waiting(rig: Any) -> list[Any]:
        lane = rig.producer._accumulator.lanes.get(("t", 1))
        return [*lane.window, *lane.queue] if lane else []

    run(scenario())


def test_a_throttled_connection_is_silent_for_that_time() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            broker = cluster.brokers[1]
            broker.throttle_ms = 300
            rig.send(b"a")
            await rig.idle()
            broker.throttle_ms = 0
            before = broker.requests[PRODUCE]
            rig.send(b"b")
            with pytest.raises(TimeoutError):
                await rig.until(lambda: broker.requests[PRODUCE] > before, 0.15)
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a", b"b"]

    run(scenario())


def test_without_acks_nothing_is_waited_for() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, acks=0, enable_idempotence=False) as rig:
            for line in lines(5):
                rig.send(line)
            await rig.until(lambda: len(cluster.log("t").batches) == 5)
            assert [offset for _, offset, _ in rig.events.delivered] == [-1] * 5
            assert cluster.log("t").batches[0].producer_id == -1

    run(scenario())


@pytest.mark.parametrize("produce", [3, 7, 8, 9, 12, 13])
def test_every_spoken_produce_version_delivers(produce: int) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        broker = cluster.brokers[1]
        broker.ranges[PRODUCE] = (0, produce)
        broker.ranges[METADATA] = (0, {3: 4, 7: 7}.get(produce, 13))
        broker.ranges[API_VERSIONS] = (0, 2 if produce < 9 else 3)
        async with running(cluster) as rig:
            rig.send(b"a", b"b")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"a", b"b"]

    run(scenario())


def test_requests_wait_for_the_first_producer_id() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        cluster.brokers[1].control(INIT_PRODUCER_ID, lambda _: CLOSE, times=2)
        async with running(cluster) as rig:
            rig.send(b"a")
            await rig.idle()
            assert cluster.log("t").batches[0].producer_id == 0
            assert cluster.brokers[1].requests[INIT_PRODUCER_ID] == 3

    run(scenario())


def test_kafka_may_come_later() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            broker = cluster.brokers[1]
            await broker.stop()
            for line in lines(5):
                rig.send(line)
            with pytest.raises(TimeoutError):
                await rig.idle(0.2)
            await broker.start()
            await rig.idle()
            assert lines_of(cluster.log("t")) == lines(5)

    run(scenario())


def test_a_request_holds_no_more_than_max_request_size() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 8})
        sizes: list[int] = []

        def note(request: Any) -> None:
            sizes.append(sum(len(row.records) for topic in request.entity.topic_data for row in topic.partition_data))

        async with running(cluster, partitions=8, max_request_size=3000, batch_size=100) as rig:
            cluster.brokers[1].control(PRODUCE, note, times=1000)
            for number in range(40):
                rig.fill(b"%d" % number + b"x" * 900)
            rig.producer.sealed(rig.arena, rig.arena.take_sealed())
            await rig.idle()
            assert sum(len(lines_of(cluster.log("t", index))) for index in range(8)) == 40
            assert max(sizes) <= 3000
            assert max(sizes) > 1000

    run(scenario())


def test_new_partitions_are_told() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster, metadata_max_age_ms=50) as rig:
            rig.send(b"a")
            await rig.idle()
            row = cluster.topics["t"].partitions[0]
            cluster.topics["t"].partitions.append(type(row)(leader=-1))
            await rig.until(lambda: rig.leaders["t"] == b"\1\0")

    run(scenario())


def test_a_recreated_topic_takes_what_waits() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            rig.send(b"a")
            await rig.idle()
            cluster.topics["t"] = FakeCluster(topics={"t": 1}).topics["t"]
            rig.send(b"b")
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"b"]

    run(scenario())


def test_a_delivery_timeout_fails_only_what_was_never_sent() -> None:
    async def scenario() -> None:
        clock = Skipping()
        cluster = FakeCluster(topics={"t": 1})
        changes = {"delivery_timeout_ms": 10_000, "request_timeout_ms": 60_000}
        async with running(cluster, producer_clock=clock, **changes) as rig:
            cluster.brokers[1].control(PRODUCE, lambda _: SILENCE)
            for line in lines(3):
                rig.send(line)
            await rig.until(lambda: cluster.brokers[1].requests[PRODUCE] == 1)
            clock.skipped_ms = 10_000
            await rig.until(lambda: len(rig.events.failed) == 2)
            assert rig.events.failed == [(Failed.DELIVERY_TIMEOUT, 0, False)] * 2
            cluster.brokers[1].cut()
            await rig.idle()
            assert lines_of(cluster.log("t")) == [b"0"]

    run(scenario())


def test_while_a_sick_partition_is_held_back_the_producer_says_so() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1, "sick": 1})
        cluster.move("sick", 0, -1)
        async with running(cluster, topics=("t", "sick"), buffer_memory=1 << 20, batch_size=1 << 13) as rig:
            rig.send(b"a")
            await rig.until(lambda: lines_of(cluster.log("t")))
            assert not rig.producer.holds_back
            while rig.arena.level < 0.85:
                rig.send(b"x" * 3000, topic="sick")
            await rig.until(lambda: rig.producer.holds_back)
            cluster.move("sick", 0, 1)
            await rig.until(lambda: not rig.producer.holds_back)

    run(scenario())
