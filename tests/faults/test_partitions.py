"""Records without keys while one of three brokers is slow, or says nothing at all: they go to the others' partitions.

Each broker leads two of six partitions and nobody else has them, so no leader ever moves. Two topics of one daemon
differ in the setting that is looked at; what a sender handed over in a span of time is found again by its number.
"""

import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import NamedTuple

import pytest

from tests.faults.conftest import BadDay
from tests.kafka.cluster import Cluster
from tests.kafka.daemon import Daemon, Setting
from tests.kafka.load import LineSender
from tests.kafka.processes import free_ports
from tests.kafka.proxy import FaultProxy
from tests.kafka.reader import ReadRecord, SentRecord, judge, read_until
from tests.kafka.test_end_to_end import line_listener

pytestmark = [pytest.mark.faults, pytest.mark.three_nodes]
REPLICAS = [[1], [2], [3]] * 2
SICK = (2, 5)
"""The partitions of the third broker."""
FAIR = 1 / 3
RATE = 2000.0
BATCH_BYTES = 4096
SPAN_SECONDS = 5.0
SETTLE_SECONDS = 2.0
LATE_SECONDS = 0.5
"""Of each chunk: a connection gets no more than 128 KiB/s through, half of a fair share."""
Span = dict[str, tuple[int, int]]
"""By topic: the numbers of the first record of a span of time, and of the first behind it."""


def lines_without_key(sender: str) -> Iterator[SentRecord]:
    """For ever, 200 bytes each."""
    for number in count():
        yield SentRecord(None, (b"%s-%09d-" % (sender.encode(), number)).ljust(200, b"."))


class World(NamedTuple):
    """Three brokers, the third behind a proxy; one daemon and a sender for each of two topics."""

    cluster: Cluster
    proxy: FaultProxy
    daemon: Daemon
    senders: dict[str, LineSender]

    def span(self) -> Span:
        """Some seconds of sending."""
        before = {topic: len(sender.sent) for topic, sender in self.senders.items()}
        time.sleep(SPAN_SECONDS)
        return {topic: (before[topic], len(sender.sent)) for topic, sender in self.senders.items()}

    def settle(self, day: BadDay) -> dict[str, list[ReadRecord]]:
        """Ends the senders; everything must be there once and in order. What was read, by topic."""
        sent = {topic: sender.finish(now=True) for topic, sender in self.senders.items()}
        total = sum(map(len, sent.values()))
        books = self.daemon.wait_settled(total)
        read = {topic: read_until(self.cluster.direct, topic, len(sent[topic])) for topic in sent}
        day.judge(judge(sent, [record for records in read.values() for record in records]))
        assert day.verdict is not None and day.verdict.clean, day.verdict
        assert (books["accepted"], books["delivered"], books["possible_duplicates"]) == (total, total, 0)
        return read


def share_of_the_sick(read: list[ReadRecord], span: tuple[int, int]) -> float:
    """What part of the records of a span went to partitions of the third broker."""
    numbers = [(int((record.value or b"").split(b"-")[1]), record.partition) for record in read]
    inside = [partition in SICK for number, partition in numbers if span[0] <= number < span[1]]
    assert len(inside) == span[1] - span[0] > 3 * RATE
    return sum(inside) / len(inside)


@pytest.fixture
def make_world(
    start_cluster: Callable[..., Cluster], make_daemon: Callable[..., Daemon]
) -> Iterator[Callable[..., World]]:
    """``make_world(first=settings, second=settings)``: two topics by these names, each with settings of its own."""
    ports = free_ports(3)
    with FaultProxy(ports[2]) as proxy:

        def make(**topics: dict[str, Setting]) -> World:
            # Nobody takes a partition from a broker that hangs, and no metadata says that it does.
            cluster = start_cluster(
                3,
                ports=ports,
                advertised=[*ports[:2], proxy.port],
                properties={"broker.session.timeout.ms": "60000"},
            )
            for topic in topics:
                cluster.create_topic(topic, replicas=REPLICAS, config={"min.insync.replicas": "1"})
            daemon = make_daemon(
                cluster.bootstrap,
                [
                    line_listener(topic, name=topic, listen=f"unix-stream:{{sockets}}/{topic}", key="none")
                    for topic in topics
                ],
                workers=1,
                topics=topics,
                producer={"batch.size": BATCH_BYTES},
            )
            daemon.start()
            senders = {
                topic: LineSender(f"{daemon.sockets}/{topic}", lines_without_key(topic), rate=RATE, chunk=20)
                for topic in topics
            }
            for sender in senders.values():
                sender.start()
            daemon.wait_for(lambda: daemon.ledger()["delivered"] > 3 * RATE, 30, "delivery goes on")
            return World(cluster, proxy, daemon, senders)

        yield make


def test_a_slow_broker_gets_fewer_records_without_key(make_world: Callable[..., World], bad_day: BadDay) -> None:
    """one of three brokers slow (half a second per 64 KiB), records without keys"""
    world = make_world(adaptive={}, uniform={"partitioner.adaptive.partitioning.enable": False})
    well = world.span()
    world.proxy.delay(LATE_SECONDS)
    time.sleep(SETTLE_SECONDS)
    slow = world.span()
    world.proxy.delay(0)
    time.sleep(SETTLE_SECONDS)
    healed = world.span()
    read = world.settle(bad_day)
    shares = {topic: [share_of_the_sick(read[topic], span[topic]) for span in (well, slow, healed)] for topic in read}
    before, meanwhile, after = shares["adaptive"]
    bad_day.told = f"of 33 % it got {meanwhile:.0%}, and {after:.0%} afterwards"
    assert meanwhile < FAIR / 2
    assert min(before, after) > FAIR * 0.7
    assert min(shares["uniform"]) > FAIR * 0.7, "the same without adaptive partitioning"


def test_the_partitions_of_a_silent_broker_are_left_out(make_world: Callable[..., World], bad_day: BadDay) -> None:
    """one of three brokers paused (SIGSTOP), partitioner.availability.timeout.ms set, records without keys"""
    world = make_world(timed={"partitioner.availability.timeout.ms": 500}, patient={})
    node = world.cluster.nodes[2]
    node.pause()
    try:
        time.sleep(SETTLE_SECONDS)
        silent = world.span()
    finally:
        node.resume()
    time.sleep(SETTLE_SECONDS)
    resumed = world.span()
    read = world.settle(bad_day)
    meanwhile, after = (share_of_the_sick(read["timed"], span["timed"]) for span in (silent, resumed))
    bad_day.told = f"of 33 % it got {meanwhile:.0%}, and {after:.0%} afterwards"
    assert meanwhile == 0
    assert after > FAIR * 0.7
    assert share_of_the_sick(read["patient"], silent["patient"]) > 0, "without the setting some go there"
