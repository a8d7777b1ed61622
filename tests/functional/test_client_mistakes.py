"""What cannot be sent is refused where it comes in; and if the thread ends all the same, nobody is left waiting."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ingestd.client import Future, KafkaException, Producer, ProducerRecord
from ingestd.client.address import Address
from ingestd.client.errors import ConfigException, InvalidTopicException, TimeoutException
from ingestd.client.session import Session
from tests.fakes.daemon import FakeDaemon


def changed(**fields: Any) -> ProducerRecord:
    """A record whose fields were changed after it was made: nothing looks at them before send()."""
    record = ProducerRecord("t", "v")
    for name, value in fields.items():
        setattr(record, name, value)
    return record


@pytest.mark.parametrize(
    ("record", "kind", "text"),
    [
        (ProducerRecord("tenant-\ud800", "v"), InvalidTopicException, "cannot be written as UTF-8"),
        (ProducerRecord("x" * 250, "v"), InvalidTopicException, "250 bytes: it has 1 to 249"),
        (ProducerRecord("x" * 65_536, "v"), InvalidTopicException, "65536 bytes"),
        (ProducerRecord("ü" * 125, "v"), InvalidTopicException, "250 bytes"),
        (changed(topic=""), InvalidTopicException, "0 bytes"),
        (changed(topic=b"t"), TypeError, "a topic is a str, not bytes"),
        (ProducerRecord("t", "v", headers={"n\ud800": b""}), ValueError, "surrogates not allowed"),
        (ProducerRecord("t", "v", headers={"n" * 65_536: b""}), ValueError, "for 't' is out of bounds"),
        (ProducerRecord("t", "v", headers=[("n", None)] * 65_536), ValueError, "out of bounds"),
        (changed(partition=1 << 31), ValueError, "out of bounds"),
        (changed(partition=1.5), ValueError, "out of bounds"),
        (changed(timestamp_ms=1 << 63), ValueError, "out of bounds"),
        (changed(timestamp_ms=1.5), ValueError, "out of bounds"),
    ],
)
def test_what_no_frame_can_carry_is_refused_by_send(
    record: ProducerRecord, kind: type[Exception], text: str, tmp_path: Path
) -> None:
    with FakeDaemon(tmp_path) as daemon, Producer(daemon.address) as producer:
        before = producer.send(ProducerRecord("t", "before"))
        for _ in range(2):
            with pytest.raises(kind, match=text):
                producer.send(record)
        after = producer.send(ProducerRecord("ü" * 124, "after"))
        assert (before.result(10).topic, after.result(10).topic) == ("t", "ü" * 124)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"client_id": "\ud800"}, "client_id cannot be written as UTF-8"),
        ({"client_id": "x" * 65_536}, "client_id of 65536 bytes: give at most 65535"),
        ({"linger_ms": float("inf")}, "linger_ms=inf: give a whole number"),
        ({"reconnect_backoff_ms": 20.5}, r"reconnect_backoff_ms=20\.5: give a whole number"),
        ({"reconnect_backoff_max_ms": -1}, "reconnect_backoff_max_ms=-1"),
        ({"address": "udp:a..b:1"}, "'a..b' is no host"),
        ({"address": Address("unix-stream", "/a\0b")}, "NUL"),
    ],
)
def test_what_the_thread_could_not_use_is_refused_by_the_constructor(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigException, match=text):
        Producer(**({"address": "unix-stream:/x"} | arguments))


@pytest.mark.parametrize("timeout", [float("inf"), 1e12])
def test_close_may_have_any_time(timeout: float, tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon:
        daemon.delivering = False
        producer = Producer(daemon.address)
        future = producer.send(ProducerRecord("t", "v"))
        timer = threading.Timer(0.3, daemon.deliver)
        timer.start()
        producer.close(timeout)
        timer.join()
        assert future.result(0).offset == 0


def test_close_may_have_any_time_while_the_daemon_does_not_answer(tmp_path: Path) -> None:
    """No grant: the thread has nothing to wait for but the end of that time."""
    with FakeDaemon(tmp_path) as daemon:
        daemon.delivering = False
        producer = Producer(daemon.address)
        producer.send(ProducerRecord("t", "v"))
        daemon.granting = False
        daemon.drop()
        while daemon.hellos < 2:
            time.sleep(0.01)
        producer._loop.close(1e9)
        producer._loop.join(0.3)
        assert producer._loop.is_alive()
        with pytest.raises(TimeoutException, match="not answered within 0 s: 1"):
            producer.close(0)


def test_settings_may_be_as_large_as_kafkas(tmp_path: Path) -> None:
    largest = (1 << 63) - 1
    with (
        FakeDaemon(tmp_path) as daemon,
        Producer(daemon.address, max_block_ms=largest, linger_ms=largest, reconnect_backoff_ms=largest) as producer,
    ):
        future = producer.send(ProducerRecord("t", "v"))
        with pytest.raises(KafkaException, match="no answer"):
            future.result(0.2)
        producer.flush(10)
        assert future.done()


def test_a_thread_that_cannot_make_a_frame_leaves_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it had taken, and whatever still waited, has an outcome."""

    def broken(*_: object) -> None:
        raise MemoryError("planted")

    with FakeDaemon(tmp_path) as daemon:
        daemon.delivering = False
        producer = Producer(daemon.address, linger_ms=60_000)
        futures: list[Future] = [producer.send(ProducerRecord("a", "in flight"))]
        with pytest.raises(KafkaException, match="within"):
            producer.flush(0.2)
        monkeypatch.setattr(Session, "add", broken)
        futures += [producer.send(ProducerRecord(topic, "waiting")) for topic in ("a", "b", "a")]
        with pytest.raises(KafkaException, match="thread ended: MemoryError"):
            producer.flush(10)
        for future in futures:
            with pytest.raises(KafkaException, match="thread ended: MemoryError"):
                future.result(10)
        with pytest.raises(KafkaException, match="thread ended"):
            producer.close()
        assert producer._loop.unanswered == 4
