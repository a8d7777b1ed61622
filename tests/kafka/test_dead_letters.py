"""One record of many that the broker refuses: the others arrive, it is kept with its sender, and replayed later."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

from ingestd.client import KafkaException, Producer, ProducerRecord
from tests.kafka.cluster import Cluster
from tests.kafka.daemon import COMMAND, Daemon
from tests.kafka.reader import read_until
from tests.kafka.test_end_to_end import frame_listener

RECORDS = 10_000
BAD = 4321


def command(daemon: Daemon, *words: str) -> subprocess.CompletedProcess[str]:
    """``ingestd dead-letter``; its exit status is the caller's."""
    line = [*COMMAND, "dead-letter", words[0], "-c", str(daemon.configuration), *words[1:]]
    return subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def shown(daemon: Daemon, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in command(daemon, "show", "--json", *words).stdout.splitlines()]


def send_all(daemon: Daemon, topic: str) -> list[tuple[int, KafkaException]]:
    """RECORDS records, one of them without a key; returns those that failed."""
    failed = []
    with Producer(daemon.address("unix-stream:{sockets}/app")) as producer:
        futures = [
            producer.send(
                ProducerRecord(topic, b"value %d" % number, None if number == BAD else b"k%d" % number, 0, headers=[])
            )
            for number in range(RECORDS)
        ]
        producer.flush(60)
        for number, future in enumerate(futures):
            error = future.exception(0)
            if error is not None:
                failed.append((number, error))
    return failed


def test_one_record_of_ten_thousand_is_refused_kept_and_replayed(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str
) -> None:
    kafka.create_topic(topic_name, 1, config={"cleanup.policy": "compact"})
    daemon = make_daemon(kafka.bootstrap, [frame_listener(topic_name)], workers=1)
    daemon.start()
    [(number, error)] = send_all(daemon, topic_name)
    assert number == BAD
    assert "record_refused" in str(error)
    books = daemon.wait_settled(RECORDS)
    assert (books["delivered"], books["failed"]) == (RECORDS - 1, {"record_refused": 1})
    [letter] = shown(daemon)
    assert (letter["topic"], letter["partition"], letter["listener"]) == (topic_name, 0, "app")
    assert letter["sender"].startswith("session ")
    assert letter["sequence"] == BAD + 1
    assert letter["kafka_error"] == "INVALID_RECORD"
    # the cause is still there: the record fails once more, as a letter of its own
    again = command(daemon, "replay")
    assert (again.returncode, again.stdout.split(",")[0]) == (1, "0 delivered")
    [other] = shown(daemon)
    assert other["id"] != letter["id"]
    kafka.configure_topic(topic_name, **{"cleanup.policy": "delete"})
    done = command(daemon, "replay")
    assert (done.returncode, done.stdout.split(",")[0]) == (0, "1 delivered"), done.stderr
    assert shown(daemon) == []
    assert [one["open"] for one in shown(daemon, "--all")] == [False, False]
    assert command(daemon, "replay").stdout.startswith("0 delivered")
    records = read_until(kafka.direct, topic_name, RECORDS, 1)
    values = [record.value for record in records]
    assert len(values) == len(set(values)) == RECORDS
    assert values[-1] == b"value %d" % BAD
