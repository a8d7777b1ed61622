"""Producer: Kafka's producer inside a Python process, exactly once and in order.

with Producer({"bootstrap.servers": "kafka-1:9092"}) as producer:
    producer.send(ProducerRecord("orders", "fire and forget"))
    metadata = producer.send(ProducerRecord("orders", "synchronous")).result(timeout=10)
    producer.send(ProducerRecord("orders", "asynchronous"), lambda metadata, error: ...)
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

from ingestd.client.errors import TimeoutException
from ingestd.client.future import closed_lock
from ingestd.client.records import ProducerRecord
from ingestd.hotpath.handover import FULL, QUEUED
from ingestd.producer.common import log
from ingestd.producer.library.cluster import PartitionInfo
from ingestd.producer.library.engine import Engine
from ingestd.producer.library.front import ASK_AGAIN_S, Front
from ingestd.producer.library.future import Callback, Future, Owner
from ingestd.producer.library.sender_thread import SenderThread
from ingestd.producer.library.topics import KnownTopic

EXIT_TIMEOUT_S: Final = 10.0
"""How long the end of the program waits for a producer that nobody closed."""
LOOK_AGAIN_S: Final = 1.0
"""How often those who wait look by themselves: the last notice of a producer may find no moment to be given."""
STIR_AGAIN_S: Final = 0.001


class Producer:
    """Sends records to Kafka. Thread-safe: one for the whole process is best. Not for a forked child: make another.

    ``config`` holds Kafka's names with Kafka's defaults, but for four (docs/library.md); values as in its properties,
    or Python's. ``key.serializer``, ``value.serializer`` and ``partitioner.class`` may be objects. Raises
    ConfigException, a ValueError, with every fault of the settings (unknown keys are faults); a serializer or
    partitioner that cannot be used is told behind them.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._front = Front(config)
        self._owner = Owner()
        self._pid = self._owner.pid
        self._moved = threading.Condition()
        """Notified when those who wait, for room or for a topic, should look again."""
        self._stirring = False
        """A notice is to be given, and waits for its moment."""
        self._flushing = threading.RLock()
        """One that its own thread may take again: a signal handler may flush, whatever it interrupts."""
        self._ending = False
        self._finished = False
        with ExitStack() as failed:
            failed.callback(self._front.close)
            self._thread = SenderThread(f"ingestd-producer {self._front.client_id}")
            failed.callback(self._thread.discard)
            self._begin()
            failed.pop_all()
        atexit.register(self._at_exit)

    def _begin(self) -> None:
        self._owner.io_thread = self._thread
        self._engine = Engine(
            self._front.settings, self._front.client_id, self._thread.loop, self._thread.call, self._stirred
        )
        self._front.begin(self._engine)
        self._thread.loop.set_exception_handler(lambda _, context: self._engine.on_fault(context))
        self._known = self._engine.topics.known
        self._handover = self._engine.handover
        self._put = self._handover.put
        self._quick = self._front.quick(self._engine, self._owner)
        self._thread.start()

    def send(self, record: ProducerRecord, callback: Callback | None = None) -> Future:
        """Hands a record over, and returns at once as long as there is room; its outcome comes with the future.

        ``callback(metadata, exception)``, one of them None, is called in the sender thread, in the order of the records
        of a partition; it must be quick, and cannot wait for the producer.

        Waits at most max.block.ms, for the topic to be known and for room together, then raises TimeoutException or
        BufferExhaustedException; also raises SerializationException, IllegalStateException, and what a partitioner
        raises. A call that raises has sent nothing; only what interrupts it, such as KeyboardInterrupt, may come when
        the record is handed over already. Everything else is in the future: RecordTooLargeException too.
        """
        future = self._quick.send(record, callback) if self._quick is not None else None
        return self._send(record, callback) if future is None else future

    def _send(self, record: ProducerRecord, callback: Callback | None) -> Future:
        """The slow way: whatever the quick one has left."""
        topic = self._known.get(record.topic)
        deadline_s = 0.0
        if topic is None or not topic.open or not topic.admits(record.partition):
            deadline_s = monotonic() + self._front.max_block_s
            topic = self._wait_for_topic(record, deadline_s)
        future = self._front.encode(record, topic, self._owner, callback)
        if future.size_bytes > self._front.sure_bytes or not topic.open:
            error = self._front.refusal(future, topic)
            if error is not None:
                if self._closed or not self._thread.call(self._engine.refuse, future, error):
                    raise self._front.closed(self._engine)
                return future
        verdict = self._put(future)
        if verdict == FULL:
            verdict = self._wait_for_room(future, topic, deadline_s or monotonic() + self._front.max_block_s)
        if verdict != QUEUED:
            self._owner.check_process()
            raise self._front.closed(self._engine)
        return future

    def partitions_for(self, topic: str) -> list[PartitionInfo]:
        """The topic's partitions and their leaders. Waits at most max.block.ms, then raises TimeoutException; the
        topic's own error, if waiting does not help."""
        self._owner.check_process()
        known = self._known.get(topic)
        if known is None or not known.count:
            known = self._wait_for_topic(ProducerRecord(topic), monotonic() + self._front.max_block_s)
        self._thread.call(self._engine.use_topic, topic)
        if not known.count:
            raise self._front.denied(known)
        return self._front.cluster.partitions_for_topic(topic)

    def flush(self, timeout: float | None = None) -> None:
        """Sends without lingering, and waits until every record handed over before has its outcome.

        After ``timeout`` seconds (None: for ever) TimeoutException. In a callback it raises IllegalStateException.
        """
        self._owner.check_may_wait()
        with self._flushing:
            generations = self._handover.close_generation()
        # No Event: its lock is held for a moment by who waits, who may be in a signal handler then.
        done = closed_lock()
        if not generations or not self._thread.call(self._engine.flush, generations, done.release):
            return
        deadline_s = monotonic() + timeout if timeout is not None else None
        while not done.acquire(timeout=1.0 if deadline_s is None else min(1.0, max(deadline_s - monotonic(), 0.0))):
            if not self._thread.is_alive():
                return
            if deadline_s is not None and monotonic() >= deadline_s:
                raise TimeoutException(f"not every record has its outcome within {timeout} s; it goes on")

    def metrics(self) -> dict[str, float]:
        """Figures by the names of Kafka's producer metrics (docs/library.md lists them); empty once it is closed."""
        self._owner.check_process()
        return self._thread.ask(self._engine.metrics) or {}

    def close(self, timeout: float | None = None) -> None:
        """Takes no more records, and waits for the outcome of all others, at most ``timeout`` seconds.

        None or infinity: for ever. What has none by then fails: TimeoutException if it was never sent,
        OutcomeUnknownException if it may have been written. Again: waits for the same end, or hurries it. Called in a
        callback it returns at once, and the producer ends behind it. In a forked child it does nothing.
        """
        if os.getpid() != self._pid or self._finished:
            return
        if not self._thread.call(self._close, self._front.close_ms(timeout)) or self._thread.here:
            return
        self._owner.join(timeout)
        self._finished = True
        atexit.unregister(self._at_exit)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- in the sender thread

    def _stirred(self) -> None:
        """Never waits: who holds the lock may be in a signal handler, and wait there for this thread."""
        if self._moved.acquire(blocking=False):
            try:
                self._moved.notify_all()
            finally:
                self._moved.release()
        elif not self._stirring:
            self._stirring = True
            self._thread.loop.call_later(STIR_AGAIN_S, self._stir_again)

    def _stir_again(self) -> None:
        self._stirring = False
        self._stirred()

    def _close(self, timeout_ms: int | None) -> None:
        ended = self._engine.close(timeout_ms)
        if not self._ending:
            self._ending = True
            ended.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._thread.loop.stop()  # once this has returned
        self._front.close()
        try:
            task.result()
        except Exception:
            log.exception("closing the producer")

    # -- waiting

    def _wait_for_topic(self, record: ProducerRecord, deadline_s: float) -> KnownTopic:
        """The topic once it admits the record, or once it is sure that it never will."""
        self._owner.check_process()
        name, partition = record.topic, record.partition
        self._front.check_topic(name)

        def settled() -> bool:
            known = self._known.get(name)
            return self._closed or (known is not None and (known.admits(partition) or known.denied))

        while True:
            topic = self._known.get(name)
            if topic is None or not topic.held:
                self._thread.call(self._engine.want_topic, name)
            now_s = monotonic()
            found = self._wait(settled, min(deadline_s, now_s + ASK_AGAIN_S))
            if found or now_s + ASK_AGAIN_S >= deadline_s or self._thread.here:
                break
        topic = self._known.get(name)
        if self._closed:
            raise self._front.closed(self._engine)
        if not found or topic is None:
            raise self._front.not_admitted(record, topic, self._engine)
        return topic

    def _wait_for_room(self, future: Future, topic: KnownTopic, deadline_s: float) -> int:
        verdict = FULL

        def put() -> bool:
            nonlocal verdict
            verdict = self._put(future)
            return verdict != FULL

        if not self._wait(put, deadline_s):
            raise self._front.no_room(topic)
        return verdict

    @property
    def _closed(self) -> bool:
        return self._handover.closed or self._finished

    def _wait(self, settled: Callable[[], bool], deadline_s: float) -> bool:
        """Until ``settled()``; False: the time is over. A callback must not stop the thread that it waits for."""
        if self._thread.here:
            return settled()
        with self._moved:
            self._handover.waiting += 1
            try:
                while True:
                    left_s = max(deadline_s - monotonic(), 0.0)
                    if self._moved.wait_for(settled, min(left_s, LOOK_AGAIN_S)):
                        return True
                    if left_s <= LOOK_AGAIN_S:
                        return False
            finally:
                self._handover.waiting -= 1

    def _at_exit(self) -> None:
        # Whoever forgot to close still gets delivered what was sent.
        self.close(EXIT_TIMEOUT_S)
