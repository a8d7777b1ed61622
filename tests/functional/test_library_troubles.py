"""``ingestd.producer.Producer`` where something is amiss: missing rights, topics long unused, our own faults."""

import logging
import time
from types import SimpleNamespace
from typing import Any

import pytest

from ingestd.client.errors import ClusterAuthorizationException, OutcomeUnknownException, TopicAuthorizationException
from ingestd.kafka.errors import TOPIC_AUTHORIZATION_FAILED
from ingestd.producer import ProducerRecord
from tests.fakes.broker import INIT_PRODUCER_ID, PRODUCE, error, identity_refused
from tests.fakes.threaded import scripted
from tests.functional.test_library_producer import make


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
        while producer._handover.bytes:
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
