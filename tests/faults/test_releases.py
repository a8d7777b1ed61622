"""Other releases of Apache Kafka than the one that everything else is tested with: the oldest and the newest."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import BadDay
from tests.faults.load import Load
from tests.faults.old_kafka import OldKafka
from tests.kafka import artifacts
from tests.kafka.cluster import Cluster
from tests.kafka.conftest import Reporting
from tests.kafka.daemon import Daemon
from tests.kafka.load import SessionSender, make_lines
from tests.kafka.reader import judge, read_until
from tests.kafka.test_end_to_end import frame_listener

pytestmark = pytest.mark.faults
RECORDS = 20_000


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
def test_the_oldest_release(
    tmp_path: Path,
    watch: Callable[[Reporting], None],
    make_daemon: Callable[..., Daemon],
    topic_name: str,
    seed: int,
    bad_day: BadDay,
    codec: str,
) -> None:
    """a broker of Kafka 2.1 (Produce 7, Metadata 7, ApiVersions 2, no topic ids)"""
    with OldKafka(tmp_path / "old") as old:
        watch(old)
        old.create_topic(topic_name, 3)
        producer = {"compression.type": codec}
        daemon = make_daemon(old.bootstrap, [frame_listener(topic_name)], producer=producer)
        daemon.start()
        address = daemon.address("unix-stream:{sockets}/app")
        sender = SessionSender(address, topic_name, make_lines("a", RECORDS, seed=seed), answer="delivered")
        sender.start()
        sent = {"a": sender.finish()}
        books = daemon.wait_settled(RECORDS)
        verdict = judge(sent, read_until(old.bootstrap, topic_name, RECORDS, 10))
        bad_day.judge(verdict)
        assert verdict.clean, verdict
        assert (books["delivered"], books["possible_duplicates"], len(sender.answered)) == (RECORDS, 0, RECORDS)


def test_the_newest_release(
    start_cluster: Callable[..., Cluster],
    make_daemon: Callable[..., Daemon],
    topic_name: str,
    seed: int,
    bad_day: BadDay,
) -> None:
    """a broker of Kafka 4.2, stopped and killed under load"""
    cluster = start_cluster(1, release=artifacts.NEWEST)
    cluster.create_topic(topic_name, 3)
    load = Load(cluster, make_daemon, topic_name, seed)
    time.sleep(1)
    for kill in (False, True):
        cluster.nodes[0].restart(kill=kill)
        load.wait_progress()
    load.settle(bad_day)
