"""Batches through the compressor: in order, compressed or plain, by threads whose pace the test decides."""

import asyncio
import threading
from base64 import b64encode
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.hotpath.arena import ArenaStateError, BatchState
from ingestd.limits import PAGE_BYTES
from ingestd.producer import compressor as module
from ingestd.producer.compression import GZIP, LZ4, PLAIN, ZSTD, Codec, decompress
from ingestd.producer.compressor import INLINE_NS_MAX, THREADS_MAX, Compressor, Job
from ingestd.producer.lanes.delivery import Lane
from tests.fakes.lane_world import make_lane
from tests.reference.native_frame import WireRecord, records_frame
from tests.reference.rig import NOW_MS, TICK_MS, Rig

LEVEL_3 = Codec(ZSTD, 3)
PARTITIONS = 3


class HandExecutor(Executor):
    """Threads at a standstill: ``run(n)`` does the n-th piece of work that waits."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []

    def submit(self, work: Any, /, *arguments: Any, **_: Any) -> "Future[Any]":
        self.waiting.append((work, arguments))
        return Future()

    def run(self, index: int = 0) -> None:
        work, arguments = self.waiting.pop(index)
        work(*arguments)


class Setup:
    """A compressor over a real arena; ``given`` is what came out, in order. It is its own event loop."""

    def __init__(self, threads: int = 2, buffer_bytes: int = 4 << 20, real: bool = False) -> None:
        self.rig = Rig(partitions=PARTITIONS, buffer_bytes=buffer_bytes)
        self.stream = self.rig.stream("frames")
        self.executor = HandExecutor()
        self.callbacks: deque[Any] = deque()
        self.heard = threading.Semaphore(0)
        self.given: list[Job] = []
        self.freed = 0
        self.faults: list[dict[str, Any]] = []
        self.lanes = [make_lane() for _ in range(PARTITIONS)]
        loop: Any = self
        executor = None if real else self.executor
        self.compressor = Compressor(loop, self.given.append, self._freed, self.faults.append, threads, executor)

    def call_soon_threadsafe(self, callback: Any, *arguments: Any) -> None:
        self.callbacks.append((callback, arguments))
        self.heard.release()

    def _freed(self) -> None:
        self.freed += 1

    def batch(self, value: bytes, partition: int = 0) -> Any:
        """A sealed batch of one record."""
        frame = records_frame([WireRecord(value, partition=partition)], topic=b"t0")
        self.stream.feed(frame, NOW_MS, TICK_MS)
        self.rig.intake.seal_all()
        (batch,) = self.rig.arena.take_sealed()
        return batch

    def put(self, value: bytes, codec: Codec = LEVEL_3, partition: int = 0, tick_ms: int = TICK_MS) -> Job:
        job = Job(self.lanes[partition], self.rig.arena, self.batch(value, partition), codec, NOW_MS, tick_ms)
        self.compressor.put(job)
        return job

    def finish(self, index: int = 0) -> None:
        """One thread ends its work, and the loop hears of it."""
        self.executor.run(index)
        self.listen()

    def listen(self) -> None:
        """The loop hears of what threads have ended."""
        while self.callbacks:
            callback, arguments = self.callbacks.popleft()
            callback(*arguments)

    def value(self, job: Job) -> bytes:
        """What a consumer would read; the batch leaves the arena."""
        arena, entry = self.rig.arena, job.batch.entry
        (found,) = arena.records(entry, decompress)
        arena.stamp(entry, 1, 0, 0, 0, NOW_MS)
        arena.done(entry)
        assert found.value is not None
        return found.value


def text(number: int, size: int) -> bytes:
    return (b"%06d the same words again " % number * (size // 25 + 1))[:size]


def test_a_small_batch_is_compressed_at_once() -> None:
    setup = Setup()
    job = setup.put(text(1, 2000))
    assert setup.given == [job]
    assert job.batch.codec == ZSTD
    assert job.batch.size_bytes < job.plain_bytes / 2
    assert not setup.executor.waiting
    assert setup.value(job) == text(1, 2000)


def test_a_large_one_goes_to_a_thread_and_its_lane_waits_for_it() -> None:
    setup = Setup()
    large, small = setup.put(text(1, 100_000)), setup.put(text(2, 2000))
    other = setup.put(text(3, 2000), partition=1)
    assert setup.given == [other], "another lane goes on"
    assert list(setup.compressor.jobs()) == [large, small]
    assert setup.lanes[0].waiting_bytes == large.plain_bytes + small.plain_bytes
    setup.finish(1)
    assert setup.given == [other], "the later one is ready, and not given on"
    setup.finish()
    assert setup.given == [other, large, small]
    assert (large.batch.codec, small.batch.codec) == (ZSTD, ZSTD)
    assert setup.lanes[0].waiting_bytes == 0
    assert not setup.compressor.busy
    assert setup.freed == 2
    assert [setup.value(job)[:6] for job in (large, small)] == [b"000001", b"000002"]


def test_while_a_thread_reads_it_a_batch_cannot_be_changed() -> None:
    setup = Setup()
    job = setup.put(text(1, 100_000))
    arena, entry = setup.rig.arena, job.batch.entry
    assert arena.view_count(entry) == 1
    with pytest.raises(ArenaStateError):
        arena.compress(entry, b"x", ZSTD)
    with pytest.raises(ArenaStateError):
        arena.stamp(entry, 1, 0, 0, 0, NOW_MS)
    assert arena.batch(entry).state == BatchState.SEALED, "recovery would find it as it was sealed"
    setup.finish()
    assert arena.view_count(entry) == 0


def test_what_does_not_shrink_and_what_is_tiny_stays_plain(seed: int) -> None:
    setup = Setup()
    noise = Random(seed).randbytes(100_000)
    setup.put(noise)
    setup.put(b"tiny")
    setup.finish()
    assert [job.batch.codec for job in setup.given] == [0, 0]
    assert [setup.value(job) for job in setup.given] == [noise, b"tiny"]
    assert not setup.executor.waiting, "no thread is asked for a tiny one"


def test_without_pages_for_it_a_batch_goes_out_plain(seed: int) -> None:
    setup = Setup(buffer_bytes=1 << 20)
    arena = setup.rig.arena
    value = b64encode(Random(seed).randbytes(150_000))  # shrinks by a quarter
    job = setup.put(value)
    while arena.free_pages:
        setup.batch(bytes(min(arena.free_pages * PAGE_BYTES, 90_000) - 300), 1)
    assert arena.free_reserve_pages * PAGE_BYTES < 150_000
    setup.finish()
    assert setup.given == [job]
    assert job.batch.codec == 0
    assert setup.value(job) == value


def test_work_in_flight_is_bounded_and_lanes_take_turns() -> None:
    setup = Setup(threads=1)
    jobs = [setup.put(text(number, 50_000)) for number in range(4)]
    other = setup.put(text(9, 50_000), partition=1)
    assert len(setup.executor.waiting) == 2, "twice the threads"
    for _ in range(4):
        setup.finish()
    assert setup.given == [*jobs[:3], other], "it has had its turn before the rest of the first lane"
    while setup.executor.waiting:
        setup.finish()
    assert [job for job in setup.given if job is not other] == jobs


def test_outputs_that_wait_for_an_earlier_one_count_as_work() -> None:
    setup = Setup(threads=1)
    for number in range(5):
        setup.put(text(number, 50_000))
    setup.finish(1)
    assert len(setup.executor.waiting) == 1, "nothing more is begun behind what is not given on"
    setup.finish()
    assert len(setup.given) == 2
    assert len(setup.executor.waiting) == 2


def test_the_loop_compresses_only_so_much_in_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.thread_time_ns", iter(range(0, 10**12, 100_000)).__next__)
    setup = Setup()
    for number in range(8):
        setup.put(text(number, 5000), partition=number % PARTITIONS)
    # measured: 100 us each; the fourth would exceed the share of this millisecond
    assert INLINE_NS_MAX == 300_000
    assert len(setup.given) == 3
    while setup.executor.waiting:
        setup.finish()
    setup.put(text(9, 5000), tick_ms=TICK_MS + 1)
    assert len(setup.given) == 9
    assert not setup.executor.waiting


def test_costs_are_learnt_by_codec_and_level(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = iter([0, 10**9, 10**9, 10**9])
    monkeypatch.setattr("time.thread_time_ns", lambda: next(costs))
    setup = Setup()
    setup.put(text(1, 2000))  # begins at once, and then takes a second
    setup.put(text(2, 2000), tick_ms=TICK_MS + 5)
    assert len(setup.executor.waiting) == 1, "one that small is for a thread from now on"
    setup.put(text(3, 2000), Codec(LZ4, 9), partition=1, tick_ms=TICK_MS + 5)
    assert len(setup.executor.waiting) == 1, "another codec is not judged by it"


def test_a_fault_of_a_codec_is_told_and_the_batch_goes_out_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(codec: Codec, plain: memoryview) -> None:
        raise MemoryError(codec.number, len(plain))

    monkeypatch.setattr(module, "compress", broken)
    setup = Setup()
    job = setup.put(text(1, 100_000))
    setup.finish()
    assert isinstance(setup.faults[0]["exception"], MemoryError)
    assert setup.value(job) == text(1, 100_000)


def test_where_no_thread_can_be_started_the_loop_compresses(
    no_threads: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    setup = Setup(real=True)
    no_threads()
    jobs = [setup.put(text(number, 100_000), partition=number % 2) for number in range(6)]
    assert setup.given == jobs
    assert [job.batch.codec for job in jobs] == [ZSTD] * 6
    assert [setup.value(job) for job in jobs] == [text(number, 100_000) for number in range(6)]
    assert (setup.compressor.busy, setup.faults) == (False, [])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    asyncio.run(setup.compressor.close())
    setup.rig.arena.close()


def test_where_no_second_thread_can_be_started_each_batch_is_still_compressed_once(
    no_threads: Callable[[], object],
) -> None:
    setup = Setup(threads=4, buffer_bytes=16 << 20, real=True)
    count = 24
    jobs = [setup.put(text(0, 200_000))]
    no_threads()
    jobs += [setup.put(text(number, 200_000), partition=number % PARTITIONS) for number in range(1, count)]
    while setup.compressor.busy:
        assert setup.heard.acquire(timeout=20)
        setup.listen()
    assert len(setup.given) == count
    for partition, lane in enumerate(setup.lanes):
        assert [job for job in setup.given if job.lane is lane] == jobs[partition::PARTITIONS]
    assert [setup.value(job) for job in jobs] == [text(number, 200_000) for number in range(count)]
    asyncio.run(setup.compressor.close())
    setup.rig.arena.close()


def test_at_most_a_few_threads() -> None:
    setup = Setup(threads=64)
    for number in range(20):
        setup.put(text(number, 50_000), partition=number % PARTITIONS)
    assert len(setup.executor.waiting) == 2 * THREADS_MAX


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"),
            st.integers(0, PARTITIONS - 1),
            st.sampled_from([PLAIN, Codec(GZIP, 1), LEVEL_3, Codec(LZ4, 9)]),
            st.sampled_from([1, 100, 3000, 20_000, 60_000]),
            st.booleans(),
        ),
        st.tuples(st.just("finish"), st.integers(0, 9)),
    ),
    max_size=60,
)


@given(steps=STEPS, threads=st.integers(1, 3))
def test_every_lane_keeps_its_order_whatever_ends_first(steps: list[Any], threads: int) -> None:
    setup = Setup(threads, buffer_bytes=8 << 20)
    random = Random(7)
    put: list[tuple[Lane, bytes]] = []
    for step in steps:
        if step[0] == "put":
            _, partition, codec, size, shrinks = step
            value = b"%08d" % len(put) + (text(3, size) if shrinks else random.randbytes(size))
            put.append((setup.put(value, codec, partition).lane, value))
        elif setup.executor.waiting:
            setup.finish(step[1] % len(setup.executor.waiting))
    while setup.executor.waiting:
        setup.finish()
    assert not setup.compressor.busy
    assert [lane.waiting_bytes for lane in setup.lanes] == [0] * PARTITIONS
    came = [(job.lane, setup.value(job)) for job in setup.given]
    for lane in setup.lanes:
        assert [value for of, value in came if of is lane] == [value for of, value in put if of is lane]
    assert setup.rig.arena.buffered() == 0
    setup.rig.arena.close()


def test_what_comes_behind_the_end_stays_sealed_as_it_is() -> None:
    setup = Setup()
    asyncio.run(setup.compressor.close())
    for size in (100, 2000, 100_000):
        job = setup.put(text(1, size))
        arena, entry = setup.rig.arena, job.batch.entry
        left = arena.batch(entry)
        assert (left.state, left.codec, arena.view_count(entry)) == (BatchState.SEALED, 0, 0)
    assert not setup.given
    assert not setup.executor.waiting
    assert not setup.compressor.busy
