"""Bad days of a topic under load: it grows, or it is deleted and made again."""

import time
from collections import defaultdict
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
METADATA_MAX_AGE_MS = 1000


def start(
    make_daemon: Callable[..., Daemon], bootstrap: str, topic: str, seed: int
) -> tuple[Daemon, dict[str, SessionSender]]:
    """Three sessions that send until they are told to end."""
    daemon = make_daemon(
        bootstrap,
        [frame_listener(topic)],
        producer={"batch.size": 16384, "metadata.max.age.ms": METADATA_MAX_AGE_MS, "topic.denied.timeout.ms": 3000},
    )
    daemon.start()
    address = daemon.address("unix-stream:{sockets}/app")
    senders = {name: SessionSender(address, topic, make_lines(name, ENDLESS, seed=seed), rate=RATE) for name in SENDERS}
    for sender in senders.values():
        sender.start()
    return daemon, senders


def test_a_topic_grows(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str, seed: int, bad_day: BadDay
) -> None:
    """partitions added under load, 3 to 12"""
    kafka.create_topic(topic_name, 3)
    daemon, senders = start(make_daemon, kafka.bootstrap, topic_name, seed)
    time.sleep(2)
    kafka.add_partitions(topic_name, 12)
    time.sleep(METADATA_MAX_AGE_MS / 1000 + 3)
    sent = {name: sender.finish(now=True) for name, sender in senders.items()}
    assert {name: sender.failed for name, sender in senders.items() if sender.failed} == {}
    total = sum(map(len, sent.values()))
    books = daemon.wait_settled(total)
    read = read_until(kafka.direct, topic_name, total, 60)
    verdict = judge(sent, read)
    bad_day.judge(verdict, "keys move once")
    # Keys move, which is what scattered means; within a partition the order of a sender and key holds.
    verdict.scattered.clear()
    assert verdict.clean, verdict
    assert (books["accepted"], books["delivered"], books["possible_duplicates"]) == (total, total, 0)
    # A sender's key moves once, from the partition of 3 to that of 12, and never back.
    homes: dict[tuple[str, bytes | None], list[int]] = defaultdict(list)
    places = {record.value: record.partition for record in read}
    for name, records in sent.items():
        for record in records:
            places_of_key = homes[name, record.key]
            if not places_of_key or places_of_key[-1] != places[record.value]:
                places_of_key.append(places[record.value])
    assert max(map(len, homes.values())) <= 2
    assert {record.partition for record in read} > {0, 1, 2}


def test_a_topic_is_made_again(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str, seed: int, bad_day: BadDay
) -> None:
    """topic deleted and made again under load"""
    kafka.create_topic(topic_name, 3)
    daemon, senders = start(make_daemon, kafka.bootstrap, topic_name, seed)
    time.sleep(2)
    kafka.delete_topic(topic_name)
    time.sleep(1)
    kafka.create_topic(topic_name, 3)
    time.sleep(5)
    sent = {name: sender.finish(now=True) for name, sender in senders.items()}
    total = sum(map(len, sent.values()))
    books = daemon.wait_settled(total - sum(len(sender.failed) for sender in senders.values()), 120)
    read = read_until(kafka.direct, topic_name, 1, 60)
    verdict = judge(sent, read)
    # What had been delivered to the topic that is gone went with it; of each sender and key, all that came behind the
    # first record in the new one is there, once and in order.
    gone = set(verdict.lost)
    arrived: set[tuple[str, bytes | None]] = set()
    lost_later = []
    for name, records in sent.items():
        for record in records:
            if record.value not in gone:
                arrived.add((name, record.key))
            elif (name, record.key) in arrived:
                lost_later.append(record.value)
    verdict.lost = lost_later
    bad_day.judge(verdict, f"{len(gone) - len(lost_later)} went with the old topic")
    assert not verdict.lost and not verdict.reordered, verdict
    assert books["balanced"]
    assert verdict.duplicated == [] or books["possible_duplicates"] >= len(verdict.duplicated), verdict
    assert not verdict.phantom and not verdict.changed
    assert len(arrived) == len({(name, record.key) for name, records in sent.items() for record in records})
