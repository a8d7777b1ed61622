"""Bad days of the brokers of a three-node cluster under load."""

import time
from collections.abc import Callable

import pytest

from tests.faults.conftest import BadDay
from tests.kafka.cluster import Cluster
from tests.kafka.daemon import Daemon
from tests.kafka.load import SessionSender, make_lines
from tests.kafka.reader import judge, read_until
from tests.kafka.test_end_to_end import frame_listener

pytestmark = pytest.mark.faults
ENDLESS = 1 << 40
SENDERS = ("a", "b", "c")
RATE = 1000.0


def under_load(
    cluster: Cluster, make_daemon: Callable[..., Daemon], topic: str, seed: int, day: BadDay, spoil: Callable[[], None]
) -> None:
    """Three sessions send while ``spoil`` runs; then everything accepted must be there once and in order."""
    daemon = make_daemon(cluster.bootstrap, [frame_listener(topic)], producer={"batch.size": 16384})
    daemon.start()
    address = daemon.address("unix-stream:{sockets}/app")
    senders = {name: SessionSender(address, topic, make_lines(name, ENDLESS, seed=seed), rate=RATE) for name in SENDERS}
    for sender in senders.values():
        sender.start()
    time.sleep(2)
    spoil()
    time.sleep(2)
    sent = {name: sender.finish(now=True) for name, sender in senders.items()}
    assert {name: sender.failed for name, sender in senders.items() if sender.failed} == {}
    total = sum(map(len, sent.values()))
    books = daemon.wait_settled(total)
    verdict = judge(sent, read_until(cluster.direct, topic, total, 60))
    day.judge(verdict)
    assert verdict.clean, verdict
    assert (books["accepted"], books["delivered"], books["possible_duplicates"]) == (total, total, 0)


@pytest.mark.three_nodes
def test_a_leader_is_killed(
    start_cluster: Callable[..., Cluster],
    make_daemon: Callable[..., Daemon],
    topic_name: str,
    seed: int,
    bad_day: BadDay,
) -> None:
    """leader of a partition killed (SIGKILL), back after a while"""
    cluster = start_cluster(3)
    cluster.create_topic(topic_name, 6)

    def spoil() -> None:
        node = cluster.nodes[cluster.leader(topic_name, 0) - 1]
        node.kill()
        time.sleep(6)
        node.start()

    under_load(cluster, make_daemon, topic_name, seed, bad_day, spoil)
