"""AsyncProducer: the same producer on an event loop of the program's, without a thread.

async with AsyncProducer({"bootstrap.servers": "kafka-1:9092"}) as producer:
    future = await producer.send(ProducerRecord("orders", "France"))    # handed over
    metadata = await future                                             # in Kafka
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, cast

from ingestd.client.errors import TimeoutException
from ingestd.client.records import ProducerRecord
from ingestd.hotpath.handover import FULL, QUEUED
from ingestd.producer.library.cluster import PartitionInfo
from ingestd.producer.library.engine import Engine
from ingestd.producer.library.front import ASK_AGAIN_S, Front
from ingestd.producer.library.future import Future, LoopOwner
from ingestd.producer.library.guarded_loop import GuardedLoop
from ingestd.producer.library.topics import KnownTopic

LATE_S_MAX: Final = 0.5
"""For how long a loop that stood still past the end of a wait goes on with it: as long as it came late, at most."""


class AsyncProducer:
    """Sends records to Kafka. Made in a coroutine and used on its event loop only; ``config`` as for ``Producer``."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._front = Front(config)
        self._owner = LoopOwner(self._loop)
        self._guarded = GuardedLoop(self._loop, self._faulty)
        loop = cast(asyncio.AbstractEventLoop, self._guarded)
        try:
            self._engine = Engine(self._front.settings, self._front.client_id, loop, loop.call_soon, self._stirred)
        except BaseException:
            self._front.close()
            raise
        self._front.begin(self._engine)
        self._known = self._engine.topics.known
        self._handover = self._engine.handover
        self._quick = self._front.quick(self._engine, self._owner)
        self._waiters: list[asyncio.Future[None]] = []

    async def send(self, record: ProducerRecord) -> Future:
        """Hands a record over; await what it returns for its RecordMetadata, or let it go.

        Waits at most max.block.ms, for the topic to be known and for room; raises as ``Producer.send`` does.
        """
        future = self._quick.send(record, None) if self._quick is not None else None
        return await self._send(record) if future is None else future

    async def _send(self, record: ProducerRecord) -> Future:
        """The slow way: whatever the quick one has left."""
        deadline_s = self._loop.time() + self._front.max_block_s
        topic = self._known.get(record.topic)
        if topic is None or not topic.admits(record.partition):
            topic = await self._wait_for_topic(record, deadline_s)
        future = self._front.encode(record, topic, self._owner, None)
        if future.size_bytes > self._front.sure_bytes or not topic.open:
            error = self._front.refusal(future, topic)
            if error is not None:
                if self._handover.closed:
                    raise self._front.closed(self._engine)
                self._engine.refuse(future, error)
                return future
        verdict = self._handover.put(future)
        if verdict == FULL:
            verdict = await self._wait_for_room(future, topic, deadline_s)
        if verdict != QUEUED:
            self._owner.check_process()
            raise self._front.closed(self._engine)
        return future

    async def partitions_for(self, topic: str) -> list[PartitionInfo]:
        """As ``Producer.partitions_for``."""
        known = self._known.get(topic)
        if known is None or not known.count:
            known = await self._wait_for_topic(ProducerRecord(topic), self._loop.time() + self._front.max_block_s)
        self._guarded.run(self._engine.use_topic, topic)
        if not known.count:
            raise self._front.denied(known)
        return self._front.cluster.partitions_for_topic(topic)

    async def flush(self) -> None:
        """Sends without lingering, and waits until every record handed over before has its outcome."""
        generations = self._handover.close_generation()
        if generations:
            done = asyncio.Event()
            self._guarded.run(self._engine.flush, generations, done.set)
            await done.wait()

    def metrics(self) -> dict[str, float]:
        """As ``Producer.metrics``."""
        return {} if self._handover.closed else self._engine.metrics()

    async def aclose(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 (Kafka's: it ends more than the wait)
        """As ``Producer.close``."""
        # Whoever cancels this ends its waiting, not the closing.
        try:
            await asyncio.shield(self._engine.close(self._front.close_ms(timeout)))
        finally:
            self._front.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _faulty(self, context: dict[str, Any]) -> None:
        self._engine.on_fault(context)

    # -- waiting

    def _stirred(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _wait_for_topic(self, record: ProducerRecord, deadline_s: float) -> KnownTopic:
        self._owner.check_process()
        name, partition = record.topic, record.partition
        self._front.check_topic(name)

        def settled() -> bool:
            known = self._known.get(name)
            return self._handover.closed or (known is not None and (known.admits(partition) or known.denied))

        while True:
            topic = self._known.get(name)
            if topic is None or not topic.held:
                self._guarded.run(self._engine.want_topic, name)
            now_s = self._loop.time()
            found = await self._wait(settled, min(deadline_s, now_s + ASK_AGAIN_S))
            if found or now_s + ASK_AGAIN_S >= deadline_s:
                break
        topic = self._known.get(name)
        if self._handover.closed:
            raise self._front.closed(self._engine)
        if not found or topic is None:
            raise self._front.not_admitted(record, topic, self._engine)
        return topic

    async def _wait_for_room(self, future: Future, topic: KnownTopic, deadline_s: float) -> int:
        verdicts: list[int] = []

        def put() -> bool:
            verdicts.append(self._handover.put(future))
            return verdicts[-1] != FULL

        if not await self._wait(put, deadline_s):
            raise self._front.no_room(topic)
        return verdicts[-1]

    async def _wait(self, settled: Callable[[], bool], deadline_s: float) -> bool:
        """Until ``settled()``; False: the time is over."""
        self._handover.waiting += 1
        late = False
        try:
            while not settled():
                waiter = self._loop.create_future()
                self._waiters.append(waiter)
                timer = self._loop.call_at(deadline_s, partial(_give_up, waiter))
                try:
                    await waiter
                except TimeoutException:
                    if late:
                        return settled()
                    # A program that kept its loop, or was stopped, has not let it read what it waits for.
                    late = True
                    now_s = self._loop.time()
                    deadline_s = now_s + min(now_s - deadline_s, LATE_S_MAX)
                finally:
                    timer.cancel()
            return True
        finally:
            self._handover.waiting -= 1


def _give_up(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutException("the time is over"))
