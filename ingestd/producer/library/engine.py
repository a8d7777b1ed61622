"""The producer's machine inside a program: an arena in memory, the record path, the delivery core, on one event loop.

The counterpart of ``worker/worker.py``: records come through a ``Handover`` instead of sockets, outcomes go to futures
instead of sessions. Everything but ``handover`` and ``topics.known`` belongs to the loop's thread.
"""

import asyncio
import os
import weakref
from array import array
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ingestd.client.errors import ConfigException, KafkaException, OutcomeUnknownException, TimeoutException, rejected
from ingestd.config.model import Producer as Settings
from ingestd.figures import Figures
from ingestd.hotpath.arena import Arena, ArenaStateError
from ingestd.hotpath.handover import Generation, Handover, Outgoing
from ingestd.hotpath.intake import BLOCKED, OPENED, REJECTED, SEALED, Intake
from ingestd.hotpath.listener_spec import ListenerSpec
from ingestd.hotpath.local import LocalIntake
from ingestd.limits import PAGE_BYTES
from ingestd.producer.batch_producer import BatchProducer
from ingestd.producer.common import SystemClock, log
from ingestd.producer.lanes.item import FLAG_CUT, FLAG_RISK
from ingestd.producer.library.answers import Answers, tell
from ingestd.producer.library.metrics import producer_metrics
from ingestd.producer.library.topics import Topics, topic_capacity
from ingestd.producer.weights import Weights

QUEUE_BYTES_MIN: Final = 16 << 10
QUEUE_BYTES_MAX: Final = 1 << 20
QUEUE_SHARE: Final = 32
"""What may be handed over and not yet be in the arena: this part of buffer.memory, between the two bounds."""
RECORD_BYTES: Final = 256
"""What a record without outcome costs besides its bytes: buffer.memory divided by it bounds their number."""
RETRY_MS: Final = 50
"""Pause before records that found no room are offered again, should nothing have said that there is some."""
HOUR_MS: Final = 3_600_000
ANY_TIME_MS: Final = 1 << 62
"""A program's timestamps are its own affair: no bounds here, the broker has some."""


def _arena(buffer_bytes: int, now_ms: int) -> Arena:
    try:
        return Arena.create(
            None,
            buffer_bytes=buffer_bytes,
            topic_capacity=topic_capacity(buffer_bytes),
            session_capacity=1,
            now_ms=now_ms,
        )
    except OSError as error:
        raise ConfigException(f"buffer.memory = {buffer_bytes}: this host has no such room: {error.strerror}") from None


_engines: "weakref.WeakSet[Engine]" = weakref.WeakSet()


def _forked() -> None:
    """In a child of fork(): the loops stayed in the parent, and what is handed over here would wait for ever."""
    for engine in list(_engines):
        engine.handover.close()


os.register_at_fork(after_in_child=_forked)


class Engine:
    """``call(function)`` has the loop call it, for whoever hands a record over. ``stirred()`` is called on the loop
    when those who wait, for room or for a topic, should look again. ConfigException: the host has no buffer.memory.
    """

    def __init__(
        self,
        settings: Settings,
        client_id: str,
        loop: asyncio.AbstractEventLoop,
        call: Callable[[Callable[[], None]], object],
        stirred: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._stirred = stirred
        self._clock = SystemClock()
        self._arena = _arena(settings.buffer_memory, self._clock.now_ms())
        self._intake = Intake(self._arena, None, window_bytes=PAGE_BYTES, seed=int.from_bytes(os.urandom(8), "little"))
        own = ListenerSpec(
            index=0,
            format="frames",
            timestamp=1,
            timestamp_past_ms=ANY_TIME_MS,
            timestamp_future_ms=ANY_TIME_MS,
            record_bytes_max=settings.max_request_size,
        )
        self._intake.add_listener(own)
        queue_bytes = min(max(settings.buffer_memory // QUEUE_SHARE, QUEUE_BYTES_MIN), QUEUE_BYTES_MAX)
        self.handover = Handover(queue_bytes, settings.buffer_memory // RECORD_BYTES, partial(call, self.drain))
        self._local = LocalIntake(self._intake, own.index, self.handover)
        self._weights = Weights(self._intake, self._queue_lengths, loop)
        self.topics = Topics(settings, self._arena, self._intake, self._weights)
        answers = Answers(self._local, self._freed)
        self._figures = Figures()
        self._producer = BatchProducer(
            settings,
            (),
            self._topic_changed,
            answers,
            loop,
            client_id,
            figures=self._figures,
            on_fault=self.on_fault,
            expires_attempted=True,
            relieved=self._linger_again,
        )
        self._producer.attach(self._arena, self._intake)
        self._rest: list[Outgoing] = []
        """Handed over, and no room yet, from ``_at`` on; ``_parked`` goes before them."""
        self._at = 0
        self._parked: list[Outgoing] = []
        self._linger: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._flushes: list[tuple[list[Generation], Callable[[], object]]] = []
        self._deadline_ms = -1
        self._closing: asyncio.Task[None] | None = None
        self._ended = False
        """The arena is closed."""
        self._settled = asyncio.Event()
        self.failure: KafkaException | None = None
        """Why it has ended by itself."""
        _engines.add(self)

    # -- records

    def drain(self) -> None:
        """Takes what was handed over; a ``put`` has this called."""
        if self._ended:
            return
        # What is in the arena already is let go of: under a load that never ends, the rest never is empty.
        self._rest, self._at = self._rest[self._at :] + self.handover.take(), 0
        self._append()

    def _append(self) -> None:
        while True:
            free_pages = self._arena.free_pages
            flags = self._offer()
            urgent = flags & BLOCKED or self._flushes or self._deadline_ms >= 0
            if urgent:
                # Somebody waits: linger.ms is over for all that is open.
                self._intake.seal_all()
            if urgent or flags & SEALED:
                self._sealed()
            if not flags & BLOCKED or self._arena.free_pages <= free_pages:
                break
        if flags & OPENED and self._linger is None:
            self._linger_out()
        self.topics.hold(frozenset(record.topic for record in self._parked))
        if (self._rest or self._parked) and self._retry is None:
            self._retry = self._loop.call_later(RETRY_MS / 1000, self._again)
        self._stir()

    def _offer(self) -> int:
        """Everything that waits, oldest first, as far as there is room. Returns the flags of both goes."""
        if self.failure is not None:
            return 0  # what waits hears of it
        now_ms, tick_ms = self._clock.now_ms(), self._clock.tick_ms()
        flags = 0
        if self._parked:
            parked, self._parked = self._parked, []
            at = 0
            try:
                at, flags = self._local.append(parked, 0, self._parked, now_ms, tick_ms)
                self._refuse(flags)
            finally:
                # After a fault, too: the end tells only those that are here, and none of them twice.
                self._parked += parked[at:]
        if self._rest and not flags & BLOCKED:
            self._at, more = self._local.append(self._rest, self._at, self._parked, now_ms, tick_ms)
            self._refuse(more)
            flags |= more
            if self._at == len(self._rest):
                self._rest, self._at = [], 0
        return flags

    def _refuse(self, flags: int) -> None:
        if flags & REJECTED:
            for record, reason in self._local.take_refused():
                tell(self._local.fail([record], rejected(reason, 0, f"{record.topic}-{record.partition}")))

    def refuse(self, record: Outgoing, error: KafkaException) -> None:
        """A record that was never handed over fails."""
        tell(self.handover.fail([record], error))

    def _again(self) -> None:
        self._retry = None
        if self._rest or self._parked:
            self._append()

    def _sealed(self) -> None:
        batches = self._arena.take_sealed()
        if batches:
            self._producer.sealed(self._arena, batches)
            self._weights.sealed()

    def _queue_lengths(self, topic: str, timeout_ms: int) -> "array[int] | None":
        return self._producer.queue_lengths(topic, timeout_ms)

    def _linger_again(self) -> None:
        """Batches that were left to grow may be due."""
        if self._linger is not None:
            self._linger.cancel()
        self._linger_out()

    def _linger_out(self) -> None:
        """Seals what has waited long enough; comes again when the next is due."""
        self._linger = None
        due_ms = self._intake.seal_due(self._clock.tick_ms())
        self._sealed()
        if due_ms >= 0:
            self._linger = self._loop.call_later(due_ms / 1000, self._linger_out)

    def _freed(self) -> None:
        """Batches have had their outcome, pages came back."""
        if self._rest or self._parked:
            self._append()
        else:
            self._stir()

    def _stir(self) -> None:
        if self._flushes:
            waits = []
            for generations, done in self._flushes:
                if any(generation.open for generation in generations):
                    waits.append((generations, done))
                else:
                    done()
            self._flushes = waits
        if not self.handover.outstanding:
            self._settled.set()
        if self.handover.waiting:
            self._stirred()

    # -- topics

    def want_topic(self, name: str) -> None:
        """A caller waits for a topic that is not known, or has too few partitions."""
        if self._deadline_ms < 0:
            self.topics.want(name, self._producer)
            self._stirred()

    def use_topic(self, name: str) -> None:
        """A caller asks about a topic that is known."""
        if self._deadline_ms < 0:
            self._producer.use_topic(name)

    def _topic_changed(self, name: str, _: bytes, leader_bytes: bytes) -> None:
        self.topics.update(name, leader_bytes, self._producer)
        self._stirred()

    # -- the owner's calls

    @property
    def brokers_connected(self) -> int:
        return self._producer.brokers_connected

    @property
    def trouble(self) -> str:
        """Why some broker could not be reached; empty: nothing is known."""
        return self._producer.trouble

    def flush(self, generations: list[Generation], done: Callable[[], object]) -> None:
        """Sends without lingering; ``done()`` once all of ``generations`` have their outcome, or the producer ends."""
        self._flushes.append((generations, done))
        self.drain()
        if self._ended:
            done()

    def metrics(self) -> dict[str, float]:
        """Figures by the names of Kafka's producer metrics, as far as it has them; none once it has ended."""
        if self._ended:
            return {}
        self._producer.survey()
        return {
            **producer_metrics(self._arena, self._figures),
            "connection-count": self._producer.brokers_connected,
            "waiting-threads": self.handover.waiting,
            "records-outstanding": self.handover.outstanding,
        }

    def close(self, timeout_ms: int | None) -> "asyncio.Task[None]":
        """Takes no more records, and ends once the others have their outcome, or when the time is over (None: never).

        Called again: the earlier of both ends counts.
        """
        self.handover.close()
        end_ms = ANY_TIME_MS if timeout_ms is None else self._clock.tick_ms() + timeout_ms
        if self._closing is None:
            self._deadline_ms = end_ms
            self._closing = self._loop.create_task(self._close())
        elif end_ms < self._deadline_ms:
            self._deadline_ms = end_ms
            self._settled.set()
        self._stirred()
        return self._closing

    async def _close(self) -> None:
        try:
            if self.failure is None:
                self.drain()
            while self.handover.outstanding and self._left_ms > 0:
                self._settled.clear()
                try:
                    async with asyncio.timeout(self._left_ms / 1000):
                        await self._settled.wait()
                except TimeoutError:
                    continue
            await self._producer.close(self._left_ms)
        finally:
            self._end(self.failure or TimeoutException("the producer was closed before this record was sent"))

    @property
    def _left_ms(self) -> int:
        """Of the time that close() has; an event loop's timers do not take every number."""
        return min(max(self._deadline_ms - self._clock.tick_ms(), 0), HOUR_MS)

    def _end(self, error: KafkaException) -> None:
        """What has no outcome yet fails; honestly, where it may be in Kafka."""
        for timer in (self._linger, self._retry):
            if timer is not None:
                timer.cancel()
        maybe = OutcomeUnknownException(f"{error}: it had been, and may have been written")
        try:
            self._fail_attempted(maybe)
        except Exception:
            log.exception("a fault of our own: which records were sent cannot be told")
            tell(self._local.abandon(maybe))
        tell(self._local.abandon(error))
        tell(self.handover.fail([*self._parked, *self._rest[self._at :], *self.handover.take()], error))
        self._rest, self._parked = [], []
        self._stir()
        for _, done in self._flushes:
            done()
        self._flushes = []
        self._ended = True
        self._weights.stop()
        try:
            self._arena.close()
        except ArenaStateError:
            log.debug("a connection still holds a batch: the arena goes when it lets go")

    def _fail_attempted(self, error: KafkaException) -> None:
        self._intake.seal_all()
        for batch in self._arena.recovered():
            if batch.attempts or batch.stamp_flags & (FLAG_CUT | FLAG_RISK):
                tell(self._local.failed(self._arena, batch.entry, error))

    def on_fault(self, context: dict[str, Any]) -> None:
        """An exception that nobody caught: this producer ends, every record of it hears of that."""
        error = context.get("exception")
        log.critical("a fault of our own: %s", context.get("message"), exc_info=error)
        if self.failure is None:
            self.failure = KafkaException(f"the producer has ended: {context.get('message')}: {error!r}")
            self.close(0)
