"""Bad days of a producer inside a program."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ingestd.producer import Future, Producer, ProducerRecord
from tests.faults.conftest import BadDay
from tests.kafka.cluster import Cluster
from tests.kafka.load import make_lines
from tests.kafka.reader import SentRecord, judge, read_until

pytestmark = [pytest.mark.faults, pytest.mark.three_nodes]
BOUNCES = 4
RATE = 1000.0
SECONDS_MAX = 60.0


class Program(threading.Thread):
    """Sends at a rate until it is told to stop."""

    def __init__(self, producer: Producer, topic: str, records: Iterator[SentRecord]) -> None:
        super().__init__(name="program")
        self.sent: list[SentRecord] = []
        self.futures: list[Future] = []
        self.stopping = threading.Event()
        self._producer = producer
        self._topic = topic
        self._records = records

    def run(self) -> None:
        started = time.monotonic()
        for record in self._records:
            if self.stopping.is_set():
                return
            self.futures.append(self._producer.send(ProducerRecord(self._topic, record.value, record.key)))
            self.sent.append(record)
            if len(self.sent) % 20 == 0:
                time.sleep(max(0.0, started + len(self.sent) / RATE - time.monotonic()))

    def wait_progress(self, records: int = 500) -> None:
        """Until so many more records have been delivered."""
        target = len(self.futures) + records
        deadline = time.monotonic() + SECONDS_MAX
        while len(self.futures) < target or not all(future.done() for future in self.futures[:target]):
            assert time.monotonic() < deadline, "nothing gets on"
            time.sleep(0.1)


def test_leaders_are_bounced(
    start_cluster: Callable[..., Cluster], topic_name: str, seed: int, bad_day: BadDay
) -> None:
    """library: leaders bounced four times under load, SIGTERM and SIGKILL in turn"""
    cluster = start_cluster(3)
    cluster.create_topic(topic_name, 6)
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 5, "acks": "all"})
    programs = {name: Program(producer, topic_name, make_lines(name, 1 << 40, seed=seed)) for name in ("a", "b", "c")}
    for program in programs.values():
        program.start()
    for number in range(BOUNCES):
        programs["a"].wait_progress()
        cluster.nodes[cluster.leader(topic_name, 0) - 1].restart(kill=bool(number % 2))
    programs["a"].wait_progress()
    for program in programs.values():
        program.stopping.set()
        program.join()
    producer.close(SECONDS_MAX)
    sent = {name: program.sent for name, program in programs.items()}
    verdict = judge(sent, read_until(cluster.direct, topic_name, sum(map(len, sent.values())), SECONDS_MAX))
    errors = {str(future.exception(0)) for program in programs.values() for future in program.futures}
    bad_day.judge(verdict, "each record's future")
    assert verdict.clean, verdict
    assert errors == {"None"}
