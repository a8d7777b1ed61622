"""Bad days of a topic's limits: batches that waited are too large all at once."""

import time
from collections.abc import Callable

import pytest

from tests.faults.conftest import BadDay
from tests.faults.load import Load
from tests.kafka.cluster import Cluster
from tests.kafka.daemon import Daemon
from tests.kafka.reader import judge, read_until

pytestmark = pytest.mark.faults
LIMIT_BYTES = "3000"


@pytest.fixture
def load(start_cluster: Callable[..., Cluster], make_daemon: Callable[..., Daemon], topic_name: str, seed: int) -> Load:
    """One node, a topic of three partitions, and a load whose batches have many records."""
    cluster = start_cluster(1)
    cluster.create_topic(topic_name, 3)
    load = Load(cluster, make_daemon, topic_name, seed, producer={"linger.ms": 100})
    load.wait_progress()
    return load


def test_the_limit_of_a_topic_is_lowered(load: Load, bad_day: BadDay) -> None:
    """max.message.bytes of the topic lowered under load, to a fifth of a batch"""
    load.cluster.configure_topic(load.topic, **{"max.message.bytes": LIMIT_BYTES})
    load.wait_progress(records=5000)
    load.settle(bad_day, "nobody: batches are split, the next ones are smaller")
    log = load.daemon.log.read_text()
    assert "sent as two batches" in log
    assert "batch.size is" in log


def test_workers_die_while_batches_are_split(load: Load, bad_day: BadDay) -> None:
    """workers killed (SIGKILL) again and again while all batches are too large"""
    load.cluster.configure_topic(load.topic, **{"max.message.bytes": LIMIT_BYTES})
    for number in range(6):
        time.sleep(0.7)
        load.daemon.kill_worker(number % 2)
        load.wait_progress(records=300)
    sent, books = load.finish()
    verdict = judge(sent, read_until(load.cluster.direct, load.topic, sum(map(len, sent.values())), 60))
    bad_day.judge(verdict, f"{books['possible_duplicates']} counted as possible duplicates")
    assert verdict.clean, verdict
    assert load.daemon.log.read_text().count("sent as two batches") > 6
