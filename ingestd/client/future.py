"""Future: the outcome of one send().

Made for millions of them: no lock, no condition of its own; what waits for it is registered only when something does.
"""

import os
import threading
from collections.abc import Callable

from ingestd.client.errors import IllegalStateException, KafkaException, TimeoutException
from ingestd.client.records import RecordMetadata

Callback = Callable[[RecordMetadata | None, KafkaException | None], object]

CALLBACK_TIMEOUT_S = 5.0  # for callbacks that run when the time of close() is over

_PENDING = 0
_DELIVERED = 1
_FAILED = 2


class Owner:
    """What all futures of one producer share: its locks, and who may wait for them.

    The locks let their owner in again: signal handlers and finalizers of the application run in the middle of our own
    code, and may send.
    """

    __slots__ = ("_conditions", "io_thread", "lock", "outbox_lock", "pid")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        """For registering with futures."""
        self.outbox_lock = threading.RLock()
        """May be waited for by who has the other one: a send() that came in the middle. Never the other way round."""
        self._conditions = (threading.Condition(self.lock), threading.Condition(self.outbox_lock))
        self.pid = os.getpid()
        self.io_thread: threading.Thread | None = None

    def check_process(self) -> None:
        """Raises if this is a child of the process that made the producer: its thread and connection stayed there."""
        if os.getpid() != self.pid:
            raise IllegalStateException(
                f"this producer belongs to process {self.pid}: after a fork make a new Producer in the child"
            )

    def in_callback(self) -> bool:
        """Whether the caller is the producer's own thread, which must never wait for itself."""
        return threading.current_thread() is self.io_thread

    def who_cannot_wait(self) -> str:
        """Who calls, if the producer's thread could not go on while it waits; empty for all others."""
        if self.in_callback():
            return "a callback"
        if any(map(_is_held_here, self._conditions)):
            return "a signal handler or finalizer in the middle of the producer's own code"
        return ""

    def check_may_wait(self) -> None:
        """Raises if waiting here would never end."""
        self.check_process()
        who = self.who_cannot_wait()
        if who:
            raise IllegalStateException(f"{who} cannot wait for the producer, whose thread waits for it")

    def join(self, timeout: float | None) -> None:
        """Waits until the producer's thread has ended, which it does within `timeout` seconds (None: some day).

        Raises TimeoutException if a callback keeps it.
        """
        seconds = threading.TIMEOUT_MAX if timeout is None else timeout + CALLBACK_TIMEOUT_S
        if self.io_thread is None:
            return
        self.io_thread.join(min(seconds, threading.TIMEOUT_MAX))
        if self.io_thread.is_alive():
            raise TimeoutException("a callback has not returned yet: the producer ends when it does")


class Future:
    """The outcome of one record, now or later. `result()` waits for it; safe to use from any thread."""

    __slots__ = (
        "_error",
        "_offset",
        "_owner",
        "_partition",
        "_state",
        "_waiters",
        "callback",
        "key_size",
        "timestamp_ms",
        "topic",
        "value_size",
    )

    def __init__(
        self, owner: Owner, topic: str, timestamp_ms: int, key_size: int, value_size: int, callback: Callback | None
    ) -> None:
        self._owner = owner
        self._state = _PENDING
        self._error: KafkaException | None = None
        self._waiters: list[Callable[[], object]] | None = None
        self.topic = topic
        self.timestamp_ms = timestamp_ms
        self.key_size = key_size
        self.value_size = value_size
        self.callback = callback

    def done(self) -> bool:
        """Whether the outcome is known."""
        return self._state != _PENDING

    def result(self, timeout: float | None = None) -> RecordMetadata:
        """Waits at most `timeout` seconds (None: for ever). Raises the record's error, or TimeoutException."""
        error = self.exception(timeout)
        if error is not None:
            # One error may belong to many records: it must not collect the traceback of each.
            raise error.with_traceback(None)
        return self._metadata()

    def exception(self, timeout: float | None = None) -> KafkaException | None:
        """The record's error, None if it was delivered. Raises TimeoutException if that is not known in time."""
        if self._state == _PENDING and not self._wait(timeout):
            raise TimeoutException(f"no answer for a record of {self.topic!r} within {timeout} s; it may still come")
        return self._error

    def add_done_callback(self, function: "Callable[[Future], object]") -> None:
        """Calls `function(future)` once, in the producer's thread, or at once if the outcome is known."""
        if self._state == _PENDING:
            self._owner.check_process()  # in a forked child nobody ever opens a lock that was closed at the fork
            if self._register(lambda: function(self)):
                return
        function(self)

    def _register(self, waiter: Callable[[], object]) -> bool:
        """Whether the outcome is still to come; then `waiter` is called."""
        waiters = [waiter]  # made before looking: where nothing is allocated or called, no finalizer comes in between
        with self._owner.lock:
            if self._state != _PENDING:
                return False
            if self._waiters is None:
                self._waiters = waiters
            else:
                self._waiters.append(waiter)
        return True

    def _metadata(self) -> RecordMetadata:
        where = (self.topic, self._partition, self._offset, self.timestamp_ms)
        return RecordMetadata(*where, self.key_size, self.value_size)

    def _wait(self, timeout: float | None) -> bool:
        self._owner.check_may_wait()
        if timeout is not None and timeout <= 0:
            return self._state != _PENDING
        waiter = closed_lock()
        release = waiter.release
        if self._register(release):
            try:
                acquire_within(waiter, timeout)
            finally:
                if self._state == _PENDING:
                    self._forget(release)
        return self._state != _PENDING

    def _forget(self, waiter: Callable[[], object]) -> None:
        """Who looks in again and again leaves nothing behind."""
        with self._owner.lock:
            if self._waiters is not None and waiter in self._waiters:
                self._waiters.remove(waiter)

    def succeed(self, partition: int, offset: int, timestamp_ms: int) -> None:
        """For the producer: the record is where it should be. timestamp_ms -1 keeps the record's own."""
        self._partition = partition
        self._offset = offset
        if timestamp_ms >= 0:
            self.timestamp_ms = timestamp_ms
        self._finish(_DELIVERED)

    def fail(self, error: KafkaException) -> None:
        """For the producer: the record was not delivered, or nobody knows."""
        self._error = error
        self._finish(_FAILED)

    def _finish(self, state: int) -> None:
        with self._owner.lock:
            self._state = state  # first: who comes in between registers no more
            waiters, self._waiters = self._waiters, None
        callback = self.callback
        if callback is not None:
            self.callback = None
            _guarded(lambda: callback(self._metadata() if state == _DELIVERED else None, self._error))
        if waiters is not None:
            for waiter in waiters:
                _guarded(waiter)


def _guarded(function: Callable[[], object]) -> None:
    """A callback's exception is its own affair: logged, and the others go on (as in Kafka's producer)."""
    try:
        function()
    except BaseException:
        import logging  # costs more to import than all the rest of the client, and is hardly ever needed

        logging.getLogger("ingestd.client").exception("a callback raised")


def _is_held_here(condition: threading.Condition) -> bool:
    """Whether the caller's own thread has its lock: then the caller came in the middle of what that guards."""
    try:
        condition.notify(0)  # is refused to all others
    except RuntimeError:
        return False
    return True


def closed_lock() -> threading.Lock:
    """A plain lock to wait for: that ends with KeyboardInterrupt, and leaves nothing behind that would matter."""
    lock = threading.Lock()
    lock.acquire()
    return lock


def acquire_within(lock: threading.Lock, timeout: float | None) -> bool:
    """Whether somebody released it within `timeout` seconds (None: for ever)."""
    return lock.acquire(timeout=-1 if timeout is None else min(max(timeout, 0.0), threading.TIMEOUT_MAX))
