"""``Producer`` in signal handlers, which may interrupt its own calls at any point."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from ingestd.producer import Producer, ProducerRecord
from tests.fakes.threaded import scripted
from tests.functional.test_library_producer import log, make


@contextmanager
def handled(handler: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """``handler`` runs, in the main thread, wherever it calls what this gives."""
    before = signal.signal(signal.SIGUSR1, lambda *_: handler())
    try:
        yield lambda: signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("call", [Producer.close, Producer.flush])
def test_a_handler_may_close_or_flush_while_its_thread_looks_whether_it_may_go_on(
    call: Callable[[Producer], None],
) -> None:
    with scripted(t=1) as cluster, make(cluster, linger_ms=10_000) as producer:
        future = producer.send(ProducerRecord("t", "a"))
        looks: list[bool] = []

        def settled() -> bool:
            if not looks:
                interrupt()
            looks.append(future.done())
            return looks[-1]

        with handled(lambda: call(producer)) as interrupt:
            assert producer._wait(settled, monotonic() + 10)
        assert looks == [True]
        assert log(cluster) == [b"a"]


@pytest.mark.timeout(20)
def test_a_handler_may_flush_while_its_thread_begins_to() -> None:
    with scripted(t=1) as cluster, make(cluster, linger_ms=10_000) as producer:
        producer.send(ProducerRecord("t", "a"))
        with handled(producer.flush) as interrupt, producer._flushing:
            interrupt()
        assert log(cluster) == [b"a"]


@pytest.mark.timeout(20)
def test_who_waits_finds_the_end_of_a_producer_whose_last_notice_was_not_given() -> None:
    with scripted(t=1) as cluster:
        producer = make(cluster)
        waits = threading.Event()
        found: list[bool] = []

        def settled() -> bool:
            waits.set()
            return producer._closed

        thread = threading.Thread(target=lambda: found.append(producer._wait(settled, monotonic() + 15)))
        thread.start()
        assert waits.wait(5)
        with handled(producer.close) as interrupt, producer._moved:
            interrupt()
        thread.join(10)
        assert found == [True]
