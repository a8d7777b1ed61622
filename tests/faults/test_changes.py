"""Changes by an operator to a three-node cluster under load: partitions moved, added, topics made anew, quotas."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import BadDay
from tests.faults.load import Load
from tests.kafka.cluster import Cluster
from tests.kafka.daemon import Daemon
from tests.kafka.reader import judge, read_until

pytestmark = [pytest.mark.faults, pytest.mark.three_nodes]
CONFIGS = "kafka.admin.ConfigCommand"
QUOTA_BYTES_PER_SECOND = 100_000


@pytest.fixture
def cluster(start_cluster: Callable[..., Cluster]) -> Cluster:
    return start_cluster(3)


def test_partitions_are_reassigned(
    cluster: Cluster,
    make_daemon: Callable[..., Daemon],
    topic_name: str,
    seed: int,
    bad_day: BadDay,
    tmp_path: Path,
) -> None:
    """all partitions reassigned to other brokers"""
    cluster.create_topic(topic_name, replicas=[[1, 2]] * 3)
    load = Load(cluster, make_daemon, topic_name, seed)
    load.wait_progress()
    plan = tmp_path / "plan.json"
    rows = [{"topic": topic_name, "partition": number, "replicas": [3, 2]} for number in range(3)]
    plan.write_text(json.dumps({"version": 1, "partitions": rows}))
    command = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
    cluster.tool(command, "--reassignment-json-file", str(plan), "--execute")
    load.daemon.wait_for(
        lambda: all(cluster.leader(topic_name, number) != 1 for number in range(3)), 60, "other leaders"
    )
    load.wait_progress()
    load.settle(bad_day)


def test_partitions_are_added(
    cluster: Cluster, make_daemon: Callable[..., Daemon], topic_name: str, seed: int, bad_day: BadDay
) -> None:
    """partitions added, from 3 to 12"""
    cluster.create_topic(topic_name, 3)
    load = Load(cluster, make_daemon, topic_name, seed, producer={"metadata.max.age.ms": 1000})
    load.wait_progress()
    cluster.add_partitions(topic_name, 12)
    load.wait_progress(records=6000)
    # Keys move to other partitions at the moment when metadata shows them; within each, order is kept.
    load.settle(bad_day, "keys moved", scattered=True)
    read = read_until(cluster.direct, topic_name, 1, 1)
    assert {record.partition for record in read} - {0, 1, 2}, "nothing went to the partitions added"


@pytest.mark.parametrize("partitions", [4, 2], ids=["as many partitions", "fewer partitions"])
def test_a_topic_is_made_anew(
    cluster: Cluster,
    make_daemon: Callable[..., Daemon],
    topic_name: str,
    seed: int,
    bad_day: BadDay,
    partitions: int,
) -> None:
    """topic deleted and made anew: what waits goes to the new one, or is given up with its reason"""
    cluster.create_topic(topic_name, 4)
    changes = {"topic.denied.timeout.ms": 20_000, "metadata.max.age.ms": 2000}
    load = Load(cluster, make_daemon, topic_name, seed, producer=changes)
    load.wait_progress()
    cluster.delete_topic(topic_name)
    time.sleep(2)
    cluster.create_topic(topic_name, partitions)
    load.wait_progress()
    # All that was on its way when the topic went has its outcome now.
    time.sleep(25 if partitions < 4 else 3)
    early = {name: len(sender.sent) for name, sender in load.senders.items()}
    load.wait_progress()
    sent, books = load.finish()
    unanswered = {record.value for name, records in sent.items() for record in records[: early[name]]}
    verdict = judge(sent, read_until(cluster.direct, topic_name, 1, 1), unanswered=unanswered)
    verdict.scattered = []  # a topic with another number of partitions has other homes for its keys
    told = f"failed {books['failed'] or 'none'}, possible duplicates {books['possible_duplicates']}"
    bad_day.judge(verdict, told)
    assert verdict.clean, verdict
    failed = sum(books["failed"].values())
    assert books["accepted"] == books["delivered"] + failed == sum(map(len, sent.values()))
    assert set(books["failed"]) <= ({"topic_denied", "may_have_been_written"} if partitions < 4 else set())


def test_quotas_throttle(
    cluster: Cluster, make_daemon: Callable[..., Daemon], topic_name: str, seed: int, bad_day: BadDay
) -> None:
    """a quota of 100 kB/s per broker for every client: the rate falls to it, nothing fails"""
    cluster.create_topic(topic_name, 3)
    quota = f"producer_byte_rate={QUOTA_BYTES_PER_SECOND}"
    default = ("--alter", "--entity-type", "clients", "--entity-default")
    cluster.tool(CONFIGS, *default, "--add-config", quota)
    load = Load(cluster, make_daemon, topic_name, seed, rate=4000.0)
    time.sleep(8)
    began, before = time.monotonic(), load.delivered
    time.sleep(10)
    rate = (load.delivered - before) * 100 / (time.monotonic() - began)
    cluster.tool(CONFIGS, *default, "--delete-config", "producer_byte_rate")
    load.wait_progress(records=20_000)
    load.settle(bad_day, f"{rate / 1000:.0f} kB/s under the quota")
    # The workers' client ids differ: each has a quota of its own at each of the brokers.
    assert rate < 1.5 * QUOTA_BYTES_PER_SECOND * 2 * 3
