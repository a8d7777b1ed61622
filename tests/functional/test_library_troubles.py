"""``ingestd.producer.Producer`` where something is amiss: missing rights, topics long unused, our own faults."""

import logging
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from ingestd.client.errors import ClusterAuthorizationException, OutcomeUnknownException, TopicAuthorizationException
from ingestd.kafka.errors import TOPIC_AUTHORIZATION_FAILED
from ingestd.producer import Producer, ProducerRecord
from tests.fakes.broker import INIT_PRODUCER_ID, PRODUCE, Partition, error, identity_refused
from tests.fakes.threaded import ThreadedCluster, scripted
from tests.functional.test_library_producer import make


def test_a_partition_that_comes_to_an_idle_topic_is_found() -> None:
    with scripted(t=1) as cluster, make(cluster, metadata_max_idle_ms=5000) as producer:
        producer.send(ProducerRecord("t", "v")).result(5)
        grow_when_idle(cluster, producer)
        assert producer.send(ProducerRecord("t", "v", partition=1)).result(5).partition == 1


def test_who_asks_for_the_partitions_of_an_idle_topic_has_it_looked_up_again() -> None:
    with scripted(t=1) as cluster, make(cluster, metadata_max_idle_ms=5000) as producer:
        assert len(producer.partitions_for("t")) == 1
        grow_when_idle(cluster, producer)
        deadline_s = time.monotonic() + 5
        while len(producer.partitions_for("t")) == 1:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)


def grow_when_idle(cluster: ThreadedCluster, producer: Producer) -> None:
    """The topic was used an hour ago, and has one more partition since."""

    def idle() -> None:
        metadata = producer._engine._producer._cluster
        metadata.topics["t"].used_ms -= 3_600_000
        metadata.want()
        producer._engine._producer._brokers.refresh()

    producer._thread.call(idle)
    deadline_s = time.monotonic() + 5
    while not producer._engine._producer._cluster.topics["t"].idle:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    cluster.call(lambda: cluster.cluster.topics["t"].partitions.append(Partition(1)))


def test_a_right_to_write_that_is_missing_fails_what_needs_it_soon() -> None:
    """Where metadata shows the topic: only the answers to what is sent say it."""
    with scripted(t=1, other=1) as cluster, make(cluster) as producer:
        cluster.call(lambda: cluster.broker.control(PRODUCE, error(TOPIC_AUTHORIZATION_FAILED), times=99))
        failed = producer.send(ProducerRecord("t", "v")).exception(5)
        assert isinstance(failed, TopicAuthorizationException) and not failed.retriable
        cluster.call(cluster.broker.clear_controls)
        assert producer.send(ProducerRecord("t", "v")).result(5).offset == 0
        assert producer.send(ProducerRecord("other", "v")).result(5).offset == 0


def test_a_producer_id_that_is_refused_fails_what_waits_for_it_soon() -> None:
    with scripted(t=1) as cluster:
        cluster.call(lambda: cluster.broker.control(INIT_PRODUCER_ID, identity_refused, times=99))
        with make(cluster) as producer:
            for _ in range(2):
                failed = producer.send(ProducerRecord("t", "v")).exception(5)
                assert isinstance(failed, ClusterAuthorizationException) and not failed.retriable
            cluster.call(cluster.broker.clear_controls)
            deadline_s = time.monotonic() + 10
            while producer.send(ProducerRecord("t", "v")).exception(5) is not None:
                assert time.monotonic() < deadline_s


def test_a_fault_in_the_midst_of_the_end_leaves_no_future_and_no_flush_waiting(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent is not told apart from the rest then, so nothing is called unwritten."""

    def fault() -> None:
        raise ZeroDivisionError("a mistake")

    with scripted(t=1) as cluster:
        producer = make(cluster, linger_ms=60_000, delivery_timeout_ms=120_000)
        future = producer.send(ProducerRecord("t", "v"))
        deadline_s = time.monotonic() + 5
        while producer._handover.bytes:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        broken = SimpleNamespace(seal_all=fault)
        monkeypatch.setattr(producer._engine, "_intake", broken)
        with caplog.at_level(logging.ERROR):
            producer._thread.call(fault)
            assert isinstance(future.exception(5), OutcomeUnknownException)
            producer.flush(5)
            producer.close(5)
        assert "cannot be told" in caplog.text


def test_records_that_wait_for_room_are_not_lost_to_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: Any) -> None:
        raise ZeroDivisionError("a mistake")

    with scripted(t=1) as cluster:
        producer = make(cluster, linger_ms=60_000, delivery_timeout_ms=120_000)
        producer.partitions_for("t")
        engine = producer._engine
        future = producer._front.encode(ProducerRecord("t", "v"), producer._known["t"], producer._owner, None)

        def park() -> None:
            producer._handover.put(future)
            engine._parked = producer._handover.take()
            monkeypatch.setattr(engine, "_local", SimpleNamespace(append=fault, abandon=lambda _: []))
            engine.drain()

        producer._thread.call(park)
        assert "a mistake" in str(future.exception(5))
        producer.close(5)


def test_a_program_that_ends_with_batches_to_compress_is_not_told_to_raise_limits() -> None:
    program = (
        "import os, sys; from ingestd.producer import Producer, ProducerRecord\n"
        "producer = Producer({'bootstrap.servers': sys.argv[1], 'linger.ms': 60000, 'delivery.timeout.ms': 120000,"
        " 'batch.size': 200000, 'compression.type': 'zstd'})\n"
        "producer.partitions_for('t')\n"
        "[producer.send(ProducerRecord('t', os.urandom(1000).hex())) for _ in range(90)]"
    )
    with scripted(t=1) as cluster:
        command = [sys.executable, "-c", program, cluster.bootstrap]
        done = subprocess.run(command, timeout=30, check=True, capture_output=True, text=True)
        assert done.stderr == ""
        assert cluster.call(lambda: cluster.broker.requests[PRODUCE]) > 0
