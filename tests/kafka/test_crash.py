"""kill -9 of workers and of everything while sessions send: what was answered is in Kafka, once and in order."""

import random
import time
from collections.abc import Callable

import pytest

from tests.kafka.cluster import Cluster
from tests.kafka.daemon import Daemon
from tests.kafka.load import SessionSender, make_lines
from tests.kafka.reader import judge, read_until
from tests.kafka.test_end_to_end import frame_listener

ENDLESS = 1 << 40


def kill_under_load(
    kafka: Cluster,
    make_daemon: Callable[..., Daemon],
    topic: str,
    kills: int,
    pause_s: float,
    seed: int,
    **settings: object,
) -> None:
    """``kills`` times one of two workers, then everything at once; four sessions send all the time."""
    choose = random.Random(seed)
    kafka.create_topic(topic, 4)
    daemon = make_daemon(kafka.bootstrap, [frame_listener(topic)], producer={"batch.size": 16384}, **settings)
    daemon.start()
    address = daemon.address("unix-stream:{sockets}/app")
    senders = {
        name: SessionSender(address, topic, make_lines(name, ENDLESS, seed=seed), rate=1500)
        for name in ("a", "b", "c", "d")
    }
    for sender in senders.values():
        sender.start()
    for _ in range(kills):
        time.sleep(pause_s)
        daemon.kill_worker(choose.randrange(2))
    time.sleep(pause_s)
    daemon.kill_all()
    daemon.start()
    time.sleep(1)
    sent = {name: sender.finish(now=True) for name, sender in senders.items()}
    assert {name: sender.failed for name, sender in senders.items() if sender.failed} == {}
    assert all(len(sender.answered) == len(sent[name]) for name, sender in senders.items())
    total = sum(map(len, sent.values()))
    books = daemon.wait_settled(total)
    verdict = judge(sent, read_until(kafka.direct, topic, total, 1))
    assert verdict.clean, verdict
    assert (books["accepted"], books["delivered"], books["possible_duplicates"]) == (total, total, 0)
    assert daemon.stop() == 0


def test_nothing_answered_is_missing_and_nothing_is_there_twice(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    kill_under_load(kafka, make_daemon, topic_name, 4, 0.7, seed)


@pytest.mark.soak
def test_a_worker_is_killed_every_two_seconds_for_a_minute(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    kill_under_load(kafka, make_daemon, topic_name, 30, 2.0, seed)


def test_the_answer_delivered_survives_a_crash(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    kafka.create_topic(topic_name, 2)
    daemon = make_daemon(kafka.bootstrap, [frame_listener(topic_name)], workers=1)
    daemon.start()
    address = daemon.address("unix-stream:{sockets}/app")
    sender = SessionSender(address, topic_name, make_lines("a", ENDLESS, seed=seed), answer="delivered", rate=1000)
    sender.start()
    for _ in range(3):
        time.sleep(0.8)
        daemon.kill_worker(0)
    time.sleep(1)
    sent = {"a": sender.finish(now=True)}
    daemon.wait_settled(len(sent["a"]))
    records = read_until(kafka.direct, topic_name, len(sent["a"]), 1)
    verdict = judge(sent, records)
    assert verdict.clean, verdict
    # An outcome that was lost with the worker may be told as unknown; what was told must be true.
    places = {record.value: (record.partition, record.offset) for record in records}
    told = {value: (metadata.partition, metadata.offset) for value, metadata in sender.answered.items()}
    assert {value: place for value, place in told.items() if place[1] != -1 and places[value] != place} == {}
    assert len(told) + len(sender.failed) == len(sent["a"])
    assert len(told) > len(sent["a"]) / 2
