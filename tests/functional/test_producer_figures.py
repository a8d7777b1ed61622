"""The producer's figures against the scripted broker: every one moves with what it stands for, and by how much."""

from pathlib import Path

import uvloop

from ingestd.figures import SUM_WORD, Count, Gauge, Histogram, Reading, TopicWord, read
from ingestd.hotpath.arena import Arena
from tests.fakes.broker import CLOSE, NOTHING, PRODUCE, FakeCluster, error
from tests.functional.producer_rig import Rig, running


def reading(rig: Rig) -> Reading:
    """As a worker stores them."""
    rig.producer.survey()
    return read(rig.producer.meter.figures.pack(), ("t", "u"))


def counted(found: Reading, *counts: Count) -> tuple[int, ...]:
    return tuple(found.counts[count] for count in counts)


def of_topic(found: Reading, topic: str, *words: TopicWord) -> tuple[int, ...]:
    return tuple(found.topics[topic][word] for word in words)


def test_records_batches_and_bytes_by_topic() -> None:
    async def scenario() -> None:
        async with running(FakeCluster(topics={"t": 1, "u": 1}), topics=("t", "u")) as rig:
            rig.send(b"a", b"b", b"c")
            rig.send(b"d", topic="u")
            await rig.idle()
            found = reading(rig)
            words = (TopicWord.RECORDS_SENT, TopicWord.RECORDS_DELIVERED, TopicWord.RECORDS_RETRIED)
            assert of_topic(found, "t", *words) == (3, 3, 0)
            assert of_topic(found, "u", *words) == (1, 1, 0)
            assert counted(found, Count.BATCHES_SENT, Count.BATCHES_DELIVERED, Count.BATCHES_FAILED) == (2, 2, 0)
            sizes = of_topic(found, "t", TopicWord.BYTES_SENT, TopicWord.BYTES_DELIVERED, TopicWord.BYTES_PLAIN)
            assert len(set(sizes)) == 1
            assert sizes[0] > 61
            assert found.histograms[Histogram.BATCH_SIZE][SUM_WORD] == found.counts[Count.BYTES_SENT]
            for histogram in (
                Histogram.ACCEPT_TO_SEAL,
                Histogram.SEAL_TO_SEND,
                Histogram.QUEUE_TIME,
                Histogram.SEND_TO_ACK,
                Histogram.ACCEPT_TO_DELIVERED,
            ):
                assert sum(found.histograms[histogram][:SUM_WORD]) == 4, histogram
            latencies = sum(found.histograms[Histogram.REQUEST_LATENCY][:SUM_WORD])
            assert latencies == found.counts[Count.REQUESTS] >= 1
            assert counted(found, Count.PRODUCER_IDS, Count.CONNECTIONS_ENDED) == (1, 0)
            assert found.counts[Count.CONNECTIONS_MADE] >= 1
            assert found.gauges[Gauge.METADATA_TICK_MS] > 0

    uvloop.run(scenario())


def test_times_are_those_of_the_broker() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            rig.send(b"first")
            await rig.idle()
            before = reading(rig).histograms
            cluster.brokers[1].delay_s = 0.15
            rig.send(b"a", b"b")
            await rig.idle()
            after = reading(rig).histograms
            for histogram, weight in (
                (Histogram.REQUEST_LATENCY, 1),
                (Histogram.SEND_TO_ACK, 2),
                (Histogram.ACCEPT_TO_DELIVERED, 2),
            ):
                spent_ms = after[histogram][SUM_WORD] - before[histogram][SUM_WORD]
                assert 149 * weight <= spent_ms < 2000 * weight, histogram

    uvloop.run(scenario())


def test_retries_are_told_by_the_name_of_their_error() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        async with running(cluster) as rig:
            rig.send(b"first")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, error(19), times=2)
            rig.send(b"a", b"b")
            await rig.idle()
            cluster.brokers[1].control(PRODUCE, lambda _: CLOSE)
            rig.send(b"c")
            await rig.idle()
            found = reading(rig)
            assert found.errors == {"NOT_ENOUGH_REPLICAS": 2, "NETWORK_EXCEPTION": 1}
            assert of_topic(found, "t", TopicWord.RECORDS_RETRIED, TopicWord.RECORDS_SENT) == (5, 9)
            assert found.counts[Count.CONNECTIONS_ENDED] >= 1
            assert sum(found.histograms[Histogram.SEAL_TO_SEND][:SUM_WORD]) == 4

    uvloop.run(scenario())


def test_what_fails_and_what_waits() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1, "u": 1})
        async with running(cluster, topics=("t", "u")) as rig:
            rig.fill(b"early")
            created_ms = rig.arena.oldest_created_ms
            rig.producer.sealed(rig.arena, rig.arena.take_sealed())
            # The cluster is not known yet.
            waiting = (TopicWord.OLDEST_CREATED_MS, TopicWord.BATCHES_WAITING)
            assert of_topic(reading(rig), "t", *waiting) == (created_ms, 1)
            await rig.idle()
            assert of_topic(reading(rig), "t", *waiting, TopicWord.BYTES_WAITING) == (0, 0, 0)
            cluster.brokers[1].control(PRODUCE, error(43))
            rig.send(b"x", b"y")
            await rig.idle()
            found = reading(rig)
            assert of_topic(found, "t", TopicWord.RECORDS_FAILED, TopicWord.RECORDS_DELIVERED) == (2, 1)
            assert found.topics["t"][TopicWord.BYTES_FAILED] > 61
            assert found.counts[Count.BATCHES_FAILED] == 1
            # A gap is closed under the next epoch.
            cluster.brokers[1].control(PRODUCE, lambda _: NOTHING)
            rig.send(b"z", topic="u")
            await rig.until(lambda: reading(rig).gauges[Gauge.REQUESTS_IN_FLIGHT] == 1)
            assert of_topic(reading(rig), "u", *waiting)[1] == 1
            assert reading(rig).counts[Count.EPOCH_BUMPS] == 1

    uvloop.run(scenario())


def test_what_a_dead_process_had_sent_is_counted_by_how_it_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster = FakeCluster(topics={"t": 1})
        await cluster.start()
        path = tmp_path / "arena"
        try:
            first = Rig(cluster.bootstrap, path=path)
            first.send(b"known")
            await first.idle()
            cluster.brokers[1].control(PRODUCE, lambda _: CLOSE, times=100)
            first.send(b"a", b"b")
            await first.until(lambda: reading(first).errors.get("NETWORK_EXCEPTION", 0) >= 1)
            await first.close()
            first.arena.close()
            cluster.brokers[1].clear_controls()
            second = Rig(cluster.bootstrap, arena=Arena.open(path, now_ms=1))
            await second.idle()
            found = reading(second)
            recovered = (Count.RECOVERED_IN_DOUBT, Count.RECOVERED_ANSWERED, Count.RECOVERED_PROVEN)
            assert counted(found, *recovered, Count.RECOVERED_AT_RISK, Count.RECOVERED_FAILED) == (1, 1, 0, 0, 0)
            await second.close()
            second.arena.close()
        finally:
            await cluster.stop()

    uvloop.run(scenario())
