"""Future: the outcome of one ``send()``. It is the record on its way as well: one object per record."""

import asyncio
import threading
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from ingestd.client.errors import IllegalStateException, KafkaException, TimeoutException
from ingestd.client.future import Callback, Owner, acquire_within, closed_lock
from ingestd.client.records import RecordMetadata
from ingestd.hotpath.handover import Outgoing

__all__ = ["Callback", "Future", "LoopOwner", "Owner"]


class LoopOwner(Owner):
    """The owner of futures whose outcomes come on an event loop of the program's."""

    __slots__ = ("loop",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.io_thread = threading.current_thread()

    def check_may_wait(self) -> None:
        self.check_process()
        if self.in_callback():
            raise IllegalStateException("the event loop cannot wait for itself: await the future instead")


class Future(Outgoing):
    """The outcome of one record, now or later. Safe to use from any thread; ``await`` it in a coroutine."""

    __slots__ = ()

    def result(self, timeout: float | None = None) -> RecordMetadata:
        """Waits at most ``timeout`` seconds (None: for ever). Raises the record's error, or TimeoutException."""
        self.exception(timeout)
        return self._outcome()

    def exception(self, timeout: float | None = None) -> KafkaException | None:
        """The record's error, None if it was delivered. Raises TimeoutException if that is not known in time."""
        if not self.done() and not self._wait(timeout):
            raise TimeoutException(f"no outcome of a record of {self.topic!r} within {timeout} s; it may still come")
        error: KafkaException | None = self.error
        return error

    def add_done_callback(self, function: "Callable[[Future], object]") -> None:
        """Calls ``function(future)`` once, in the producer's thread, or at once if the outcome is known."""
        if not self.add_waiter(partial(function, self)):
            function(self)

    def __await__(self) -> Generator[Any, None, RecordMetadata]:
        if not self.done():
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()
            here = isinstance(self.owner, LoopOwner) and self.owner.loop is loop
            release = partial(_release, waiter)
            if self.add_waiter(release if here else partial(loop.call_soon_threadsafe, release)):
                yield from waiter
        return self._outcome()

    def _outcome(self) -> RecordMetadata:
        error: KafkaException | None = self.error
        if error is not None:
            # One error may belong to many records: it must not collect the traceback of each.
            raise error.with_traceback(None)
        return self._metadata()

    def _metadata(self) -> RecordMetadata:
        where = (self.topic, self.partition, self.offset, self.timestamp_ms)
        return RecordMetadata(*where, self.key_size, self.value_size)

    def _wait(self, timeout: float | None) -> bool:
        self.owner.check_may_wait()
        if timeout is not None and timeout <= 0:
            # Who looks in again and again leaves nothing behind.
            return self.done()
        waiter = closed_lock()
        if self.add_waiter(waiter.release):
            acquire_within(waiter, timeout)
        return self.done()


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
