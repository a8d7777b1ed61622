"""The sender thread (in Kafka: ``kafka-producer-network-thread``): a thread with an event loop of its own."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import uvloop

from ingestd.client.future import closed_lock

Value = TypeVar("Value")


class SenderThread(threading.Thread):
    """Runs ``loop`` from ``start()`` until ``loop.stop()`` is called in it."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.loop = uvloop.new_event_loop()

    def run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def discard(self) -> None:
        """For a thread that could not be started."""
        if not self.is_alive():
            self.loop.close()

    @property
    def here(self) -> bool:
        """Whether the caller is in this thread."""
        return threading.get_ident() == self.ident

    def call(self, function: Callable[..., object], *arguments: Any) -> bool:
        """Has the loop call ``function``; False: the loop has ended."""
        try:
            self.loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return False
        return True

    def ask(self, function: Callable[[], Value]) -> Value | None:
        """What ``function`` returns when the loop calls it; None: the loop has ended."""
        if self.here:
            return function()
        answer: list[Value] = []
        answered = closed_lock()

        def ask() -> None:
            try:
                answer.append(function())
            finally:
                answered.release()

        if not self.call(ask):
            return None
        while not answered.acquire(timeout=1):
            if not self.is_alive():
                return None
        return answer[0] if answer else None
