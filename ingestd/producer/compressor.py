"""Compresses sealed batches, beside the event loop where one would take long, and gives them on in their order.

    put -> at once, within INLINE_NS_MAX of every millisecond ----------------------------------------> given on
        -> the lane's line -> its turn -> a thread, which reads a view -> put into the arena, on the loop -> given on

A lane's batches are given on in the order in which they came, whatever is finished first. What waits is SEALED in the
arena and nothing more, so a process that dies loses none of it; the view that a thread reads keeps the batch from being
freed or changed. Only the event loop touches the arena.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Final

from ingestd.limits import BATCH_OVERHEAD_BYTES
from ingestd.producer.common import log
from ingestd.producer.compression import Codec, Compressed, compress, put_compressed, worth_compressing
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import Item

INLINE_NS_MAX: Final = 300_000
"""Compressed on the event loop in each of its milliseconds, by estimate: for a small batch a thread costs more."""
NS_PER_BYTE_FIRST: Final = 20.0
"""Estimate for a codec and level of which nothing was measured yet: large batches then begin in a thread."""
LEARNING: Final = 0.125
"""Weight of the newest measurement in the estimate."""
THREADS_MAX: Final = 4
END_POLL_S: Final = 0.005


class Job:
    """One batch on its way through here; ``now_ms`` (wall clock) and ``tick_ms`` (monotonic): when it was sealed."""

    __slots__ = (
        "arena",
        "batch",
        "codec",
        "cost_ns",
        "done",
        "error",
        "in_thread",
        "item",
        "lane",
        "now_ms",
        "payload",
        "plain_bytes",
        "tick_ms",
    )

    def __init__(self, lane: Lane, arena: Any, batch: Any, codec: Codec, now_ms: int, tick_ms: int) -> None:
        self.lane = lane
        self.arena = arena
        self.batch = batch
        self.item: Item | None = None
        """Of a batch that recovery found sealed: what is known of it; None: one just sealed."""
        self.codec = codec
        self.now_ms = now_ms
        self.tick_ms = tick_ms
        self.plain_bytes: int = batch.size_bytes
        self.done = not worth_compressing(batch, codec)
        """It goes on as it is in the arena."""
        self.in_thread = False
        self.payload: Compressed | None = None
        self.cost_ns = 0
        self.error: BaseException | None = None

    def work(self, plain: memoryview) -> None:
        """The compression; touches nothing that another thread looks at meanwhile."""
        before_ns = time.thread_time_ns()
        try:
            self.payload = compress(self.codec, plain)
        except BaseException as error:
            self.error = error
        self.cost_ns = time.thread_time_ns() - before_ns


class Line:
    """The batches of one lane: those begun, in order, then those that wait for their turn."""

    __slots__ = ("begun", "waiting")

    def __init__(self) -> None:
        self.begun: deque[Job] = deque()
        self.waiting: deque[Job] = deque()


class Compressor:
    """Gives batches on by ``give(job)``; ``freed()`` is called where that was not from within ``put``.

    ``threads``: at most so many work at once (and THREADS_MAX); twice as many outputs exist at once. ``fault(context)``
    hears of exceptions of a codec: our own mistakes. ``executor`` None: threads, made when there is work for them.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        give: Callable[[Job], object],
        freed: Callable[[], object],
        fault: Callable[[dict[str, Any]], object],
        threads: int,
        executor: Executor | None = None,
    ) -> None:
        self._loop = loop
        self._give = give
        self._freed = freed
        self._fault = fault
        self._threads = min(max(threads, 1), THREADS_MAX)
        self._executor = executor
        self._lines: dict[Lane, Line] = {}
        self._turns: deque[Line] = deque()
        """Lines in which something waits: each has a turn before one has it again."""
        self._begun = 0
        """Jobs for threads that have not been given on."""
        self._working = 0
        self._ns_per_byte: dict[Codec, float] = {}
        self._inline_tick_ms = -1
        self._inline_ns = 0
        self._warned = False
        """It was told that no thread can be started."""
        self._closed = False

    @property
    def busy(self) -> bool:
        """Some batch has not been given on."""
        return bool(self._lines)

    def holds(self, lane: Lane) -> bool:
        """Some batch of ``lane`` has not been given on."""
        return lane in self._lines

    def jobs(self) -> Iterator[Job]:
        """What has not been given on."""
        for line in self._lines.values():
            yield from line.begun
            yield from line.waiting

    def put(self, job: Job) -> None:
        """A batch that the arena has just sealed: it is given on compressed, or plain where that is better.

        Behind ``close`` it stays as it is.
        """
        if self._closed:
            return
        lane = job.lane
        line = self._lines.get(lane)
        if line is None:
            if job.done or self._at_once(job):
                self._give(job)
                return
            line = self._lines[lane] = Line()
        lane.waiting_bytes += job.plain_bytes
        line.waiting.append(job)
        if len(line.waiting) == 1:
            self._turns.append(line)
        self._take_turns()

    async def close(self) -> None:
        """Gives nothing on any more, and waits for the threads, so that no view is left. Batches stay SEALED."""
        self._closed = True
        self._turns.clear()
        self._lines.clear()
        while self._working:  # noqa: ASYNC110 (milliseconds, once)
            await asyncio.sleep(END_POLL_S)
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    def _at_once(self, job: Job) -> bool:
        """Compresses here and now if that is cheap. False: it is for a thread."""
        if job.tick_ms != self._inline_tick_ms:
            self._inline_tick_ms = job.tick_ms
            self._inline_ns = 0
        estimate_ns = job.plain_bytes * self._ns_per_byte.get(job.codec, NS_PER_BYTE_FIRST)
        if self._inline_ns + estimate_ns > INLINE_NS_MAX:
            return False
        with job.arena.view(job.batch.entry) as whole, whole[BATCH_OVERHEAD_BYTES:] as plain:
            job.work(plain)
        self._inline_ns += job.cost_ns
        self._finish(job)
        return True

    def _take_turns(self) -> None:
        while self._turns and self._begun < 2 * self._threads:
            line = self._turns.popleft()
            job = line.waiting.popleft()
            line.begun.append(job)
            if line.waiting:
                self._turns.append(line)
            if job.done or not self._begin(job):
                self._advance(line)

    def _begin(self, job: Job) -> bool:
        """Gives ``job`` to a thread. False: there is none, and it is done."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="compress")
        whole = job.arena.view(job.batch.entry)
        plain = whole[BATCH_OVERHEAD_BYTES:]
        job.in_thread = True
        self._begun += 1
        self._working += 1
        claim = [job]
        try:
            self._executor.submit(self._in_thread, claim, whole, plain)
        except RuntimeError as error:
            return self._begin_without(claim, whole, plain, error)
        return True

    def _begin_without(self, claim: list[Job], whole: memoryview, plain: memoryview, error: RuntimeError) -> bool:
        """No thread could be started. The work is in the executor's queue all the same, so an older thread may take it
        now or later: whoever empties ``claim`` does it. False: done here."""
        try:
            job = claim.pop()
        except IndexError:
            return True
        # "after shutdown": of a program that ends executors take nothing, its last batches are compressed here, and
        # nothing is wrong.
        if not self._warned and "shutdown" not in str(error):
            self._warned = True
            log.warning(
                "no thread for compression: %s. The event loop compresses in between: raise the limit of tasks"
                " (TasksMax, pids.max, ulimit -u), or give it more memory",
                error,
            )
        job.in_thread = False
        self._begun -= 1
        self._working -= 1
        with whole, plain:
            job.work(plain)
        self._finish(job)
        return False

    def _in_thread(self, claim: list[Job], whole: memoryview, plain: memoryview) -> None:
        try:
            job = claim.pop()
        except IndexError:
            return
        job.work(plain)
        self._loop.call_soon_threadsafe(self._ended, job, whole, plain)

    def _ended(self, job: Job, whole: memoryview, plain: memoryview) -> None:
        """A thread is through with ``job``. Its views are given back here, where the arena is touched."""
        plain.release()
        whole.release()
        self._working -= 1
        if self._closed:
            return
        self._finish(job)
        self._advance(self._lines[job.lane])
        self._take_turns()
        self._freed()

    def _finish(self, job: Job) -> None:
        """Puts the outcome into the arena, and learns from it."""
        if job.error is not None:
            self._fault({"message": f"compressing with {job.codec}", "exception": job.error})
        job.batch = put_compressed(job.arena, job.batch, job.codec, job.payload)
        job.payload = None
        job.done = True
        measured = job.cost_ns / job.plain_bytes
        known = self._ns_per_byte.get(job.codec, measured)
        self._ns_per_byte[job.codec] = known + (measured - known) * LEARNING

    def _advance(self, line: Line) -> None:
        """Gives on what is done at the head of ``line``."""
        begun = line.begun
        while begun and begun[0].done:
            job = begun.popleft()
            self._begun -= job.in_thread
            if not begun and not line.waiting:
                del self._lines[job.lane]
            job.lane.waiting_bytes -= job.plain_bytes
            self._give(job)
