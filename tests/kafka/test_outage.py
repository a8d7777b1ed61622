"""Kafka is away while records come: the arena fills, senders wait at next to no cost, everything arrives afterwards."""

import time
from collections.abc import Callable, Collection

import pytest

from tests.kafka.cluster import Cluster
from tests.kafka.daemon import Daemon
from tests.kafka.load import LineSender, make_lines
from tests.kafka.reader import judge, read_until
from tests.kafka.test_end_to_end import line_listener

ENDLESS = 1 << 40
WAITING_SHARE_MAX = 0.02


def outage(
    start_cluster: Callable[..., Cluster], make_daemon: Callable[..., Daemon], topic: str, seconds: float, seed: int
) -> None:
    """Kafka goes away for so long under load, and comes back."""
    cluster = start_cluster()
    cluster.create_topic(topic, 4)
    daemon = make_daemon(cluster.bootstrap, [line_listener(topic)], producer={"buffer.memory": 4 << 20})
    daemon.start()
    senders = {
        f"s{number}": LineSender(
            f"{daemon.sockets}/lines", make_lines(f"s{number}", ENDLESS, size=500, seed=seed + number), rate=2000
        )
        for number in range(4)
    }
    for sender in senders.values():
        sender.start()
    daemon.wait_for(lambda: daemon.ledger()["delivered"] > 1000, 30, "records delivered before the outage")
    cluster.nodes[0].kill()
    began = time.monotonic()
    for sender in senders.values():
        sender.rate = 0.0
    daemon.wait_for(lambda: _waiting(senders.values()) and _full(daemon), 60, "every sender waiting for a full arena")
    before, before_s = daemon.cpu_seconds(), time.monotonic()
    time.sleep(max(5.0, seconds - (before_s - began)))
    share = (daemon.cpu_seconds() - before) / (time.monotonic() - before_s)
    assert _waiting(senders.values())
    cluster.nodes[0].start()
    daemon.wait_for(lambda: not _waiting(senders.values()), 60, "senders going on")
    sent = {name: sender.finish(now=True) for name, sender in senders.items()}
    total = sum(map(len, sent.values()))
    books = daemon.wait_settled(total, 120)
    assert (books["delivered"], books["failed"], books["dropped"]) == (total, {}, {})
    verdict = judge(sent, read_until(cluster.direct, topic, total, 1))
    assert verdict.clean, verdict
    assert share < WAITING_SHARE_MAX, f"waiting costs {share:.1%} of a core"


def _waiting(senders: Collection[LineSender]) -> bool:
    """Whether no sender gets anything taken for half a second."""
    before = [len(sender.sent) for sender in senders]
    time.sleep(0.5)
    return before == [len(sender.sent) for sender in senders]


def _full(daemon: Daemon) -> bool:
    """Whether that is for want of room: every worker that has senders is full. A worker without a turn reads nothing,
    too."""
    workers = daemon.look()["workers"]
    return all(worker["arena"]["level"] > 0.9 for worker in workers if worker["connections"])


def test_senders_wait_and_everything_arrives(
    start_cluster: Callable[..., Cluster], make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    outage(start_cluster, make_daemon, topic_name, 8, seed)


@pytest.mark.soak
def test_five_minutes_without_kafka(
    start_cluster: Callable[..., Cluster], make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    outage(start_cluster, make_daemon, topic_name, 300, seed)


def test_a_stopped_daemon_keeps_what_it_accepted(
    start_cluster: Callable[..., Cluster], make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    cluster = start_cluster()
    cluster.create_topic(topic_name, 4)
    daemon = make_daemon(cluster.bootstrap, [line_listener(topic_name)], settings={"stop.timeout.ms": 2000})
    daemon.start()
    first = LineSender(f"{daemon.sockets}/lines", make_lines("first", 2000, seed=seed))
    first.start()
    daemon.wait_settled(len(first.finish()))
    cluster.nodes[0].kill()
    second = LineSender(f"{daemon.sockets}/lines", make_lines("second", 2000, seed=seed))
    second.start()
    sent = {"first": first.sent, "second": second.finish()}
    daemon.wait_for(lambda: daemon.ledger()["accepted"] == 4000, 20, "both accepted")
    daemon.stop()
    cluster.nodes[0].start()
    daemon.start()
    books = daemon.wait_settled(4000)
    assert (books["received"], books["delivered"]) == (4000, 4000)
    verdict = judge(sent, read_until(cluster.direct, topic_name, 4000, 1))
    assert verdict.clean, verdict


def test_a_daemon_starts_while_kafka_is_away(
    start_cluster: Callable[..., Cluster], make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    cluster = start_cluster()
    cluster.create_topic(topic_name, 3)
    cluster.nodes[0].stop()
    daemon = make_daemon(cluster.bootstrap, [line_listener(topic_name)], topics={topic_name: {"partitions": 3}})
    daemon.start()
    sender = LineSender(f"{daemon.sockets}/lines", make_lines("early", 3000, seed=seed))
    sender.start()
    sent = {"early": sender.finish()}
    daemon.wait_for(lambda: daemon.ledger()["accepted"] == 3000, 20, "accepted without Kafka")
    assert daemon.ledger()["buffered"] == 3000
    cluster.nodes[0].start()
    daemon.wait_settled(3000)
    verdict = judge(sent, read_until(cluster.direct, topic_name, 3000, 1))
    assert verdict.clean, verdict
