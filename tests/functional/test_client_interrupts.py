"""send() where nobody expects it: in signal handlers and finalizers, which come in the middle of anything."""

import gc
import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingestd.client import Producer, ProducerRecord
from tests.fakes.daemon import FakeDaemon

INTERVAL_S = 0.0003


@contextmanager
def alarms(handler: Callable[[], object]) -> Iterator[None]:
    """The main thread is interrupted again and again."""
    before = signal.signal(signal.SIGALRM, lambda *_: handler())
    signal.setitimer(signal.ITIMER_REAL, INTERVAL_S, INTERVAL_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("linger_ms", [0, 1])
def test_a_signal_handler_may_send(linger_ms: int, tmp_path: Path) -> None:
    ours, theirs = 0, itertools.count()  # a handler may be interrupted by the next one
    with FakeDaemon(tmp_path) as daemon:
        with Producer(daemon.address, linger_ms=linger_ms) as producer:

            def handler() -> None:
                number = next(theirs)
                producer.send(ProducerRecord(f"t{number % 3}", b"theirs %d" % number))

            ends_at = time.monotonic() + 1.5
            with alarms(handler):
                while time.monotonic() < ends_at:
                    producer.send(ProducerRecord("t0", b"ours %d" % ours))
                    ours += 1
        values = [value or b"" for value in daemon.values()]
    sent = next(theirs)
    assert sent > 100
    assert [value for value in values if value.startswith(b"ours")] == [b"ours %d" % number for number in range(ours)]
    assert sorted(value for value in values if value.startswith(b"theirs")) == sorted(
        b"theirs %d" % number for number in range(sent)
    )


def test_a_finalizer_may_send_in_any_thread(tmp_path: Path) -> None:
    """The collector finds a cycle at any allocation: in send() of many threads, and in the producer's own."""
    numbers = itertools.count()
    threads = set()

    class Knot:
        def __init__(self, producer: Producer) -> None:
            self.producer = producer
            self.me = self

        def __del__(self) -> None:
            threads.add(threading.current_thread().name)
            self.producer.send(ProducerRecord(f"t{next(numbers) % 5}", b"last words"))

    def work(producer: Producer, name: int) -> None:
        def callback(*_: object) -> None:
            Knot(producer)
            gc.collect(0)

        for number in range(500):
            Knot(producer)
            producer.send(ProducerRecord(f"w{name}", b"%d" % number), callback)

    before = gc.get_threshold()
    with FakeDaemon(tmp_path) as daemon:
        with Producer(daemon.address) as producer:
            gc.set_threshold(3, 1, 1)
            try:
                workers = [threading.Thread(target=work, args=(producer, name)) for name in range(3)]
                for worker in workers:
                    worker.start()
                for worker in workers:
                    worker.join(60)
                    assert not worker.is_alive()
            finally:
                gc.set_threshold(*before)
            producer.flush(10)
            gc.collect()
        values = daemon.values()
    assert len(threads) > 1
    assert "ingestd-producer" in threads
    assert len(values) == 4500
    assert values.count(b"last words") == next(numbers) == 3000


def test_a_signal_handler_may_close(tmp_path: Path) -> None:
    """What it interrupted may be a waiting result(), and that then has its outcome."""
    with FakeDaemon(tmp_path) as daemon:
        daemon.delivering = False
        producer = Producer(daemon.address)
        future = producer.send(ProducerRecord("t", "v"))

        def handler() -> None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            daemon.deliver()
            producer.close()

        with alarms(handler):
            assert future.result(10).offset == 0


def test_a_sender_that_finds_no_room_does_not_wait_until_the_lingering_ends(tmp_path: Path) -> None:
    with (
        FakeDaemon(tmp_path) as daemon,
        Producer(
            daemon.address, answer="accepted", linger_ms=60_000, buffer_memory=50_000, max_block_ms=5000
        ) as producer,
    ):
        for number in range(500):
            producer.send(ProducerRecord(f"t{number % 20}", bytes(1000)))
        producer.flush(10)


def test_a_batch_that_is_full_does_not_linger(tmp_path: Path) -> None:
    with (
        FakeDaemon(tmp_path) as daemon,
        Producer(daemon.address, answer="accepted", linger_ms=60_000, batch_size=10_000) as producer,
    ):
        producer.send(ProducerRecord("t", bytes(1000)))
        time.sleep(0.1)
        futures = [producer.send(ProducerRecord("u", bytes(1000))) for _ in range(11)]
        futures[0].result(10)


def test_who_has_nothing_to_linger_for_sleeps(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon, Producer(daemon.address, linger_ms=50) as producer:
        producer.send(ProducerRecord("t", "v"))
        time.sleep(0.01)
        producer.flush(10)
        clock = time.pthread_getcpuclockid(producer._loop.ident or 0)
        time.sleep(0.1)
        before_s = time.clock_gettime(clock)
        time.sleep(0.5)
        assert time.clock_gettime(clock) - before_s < 0.1
