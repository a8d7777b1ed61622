"""Bad days of the brokers of a three-node cluster under load."""

import time
from collections.abc import Callable

import pytest

from tests.faults.conftest import BadDay
from tests.faults.load import Load
from tests.kafka.cluster import Cluster, Node
from tests.kafka.daemon import Daemon

pytestmark = [pytest.mark.faults, pytest.mark.three_nodes]
AWAY_SECONDS = 300
WAITING_SHARE_MAX = 0.02


@pytest.fixture
def load(start_cluster: Callable[..., Cluster], make_daemon: Callable[..., Daemon], topic_name: str, seed: int) -> Load:
    """Three nodes, a topic of six partitions, and a load that runs for two seconds already."""
    cluster = start_cluster(3)
    cluster.create_topic(topic_name, 6)
    load = Load(cluster, make_daemon, topic_name, seed)
    time.sleep(2)
    return load


def leader_of(load: Load) -> Node:
    return load.cluster.nodes[load.cluster.leader(load.topic, 0) - 1]


def test_a_leader_is_killed(load: Load, bad_day: BadDay) -> None:
    """leader of a partition killed (SIGKILL), back after a while"""
    node = leader_of(load)
    node.kill()
    time.sleep(6)
    node.start()
    load.wait_progress()
    load.settle(bad_day)


def test_a_leader_is_stopped(load: Load, bad_day: BadDay) -> None:
    """leader of a partition stopped (SIGTERM), back after a while"""
    node = leader_of(load)
    node.stop()
    time.sleep(4)
    node.start()
    load.wait_progress()
    load.settle(bad_day)


def test_a_leader_is_paused(load: Load, bad_day: BadDay) -> None:
    """leader of a partition paused (SIGSTOP) for 15 s: nothing is answered, connections live"""
    node = leader_of(load)
    before = load.delivered
    node.pause()
    try:
        # Its partitions get other leaders after broker.session.timeout.ms; nobody waits for request.timeout.ms.
        load.daemon.wait_for(lambda: load.delivered > before + 3000, 60, "the others go on")
        time.sleep(15)
    finally:
        node.resume()
    load.wait_progress()
    load.settle(bad_day)


def test_leaders_are_bounced(load: Load, bad_day: BadDay) -> None:
    """leaders bounced ten times, SIGTERM and SIGKILL in turn"""
    for number in range(10):
        leader_of(load).restart(kill=bool(number % 2))
        load.wait_progress(records=300)
    load.settle(bad_day)


def test_the_controller_is_killed(load: Load, bad_day: BadDay) -> None:
    """active controller killed (SIGKILL), back after a while"""
    cluster = load.cluster
    node = cluster.nodes[cluster.controller - 1]
    node.kill()
    load.wait_progress()
    assert cluster.controller != node.number
    node.start()
    load.wait_progress()
    load.settle(bad_day)


def test_all_brokers_are_away(load: Load, bad_day: BadDay) -> None:
    """all brokers away for five minutes (SIGKILL); the daemon waits at under 2 % of a core"""
    for node in load.cluster.nodes:
        node.kill()
    time.sleep(20)
    for sender in load.senders.values():
        sender.pause()
    before_s, began = load.daemon.cpu_seconds(), time.monotonic()
    time.sleep(AWAY_SECONDS - 20)
    share = (load.daemon.cpu_seconds() - before_s) / (time.monotonic() - began)
    for sender in load.senders.values():
        sender.resume()
    for node in load.cluster.nodes:
        node.launch()
    for node in load.cluster.nodes:
        node.wait_ready()
    load.wait_progress(120)
    load.settle(bad_day, f"{share:.1%} of a core meanwhile")
    assert share < WAITING_SHARE_MAX
