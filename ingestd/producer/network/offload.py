"""Work that is too long for the event loop, in a thread that nobody waits for at the end.

An executor's threads are joined when the interpreter ends: one that waits for a dead token endpoint would hold that up.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from ingestd.producer.common import log

START_AGAIN_S: Final = 1.0
"""Pause before a thread that could not be started is tried again."""
Result = TypeVar("Result")


def in_thread(loop: asyncio.AbstractEventLoop, work: Callable[[], Result], name: str) -> asyncio.Future[Result]:
    """Runs ``work``; its result or exception is the future's. While the host starts no thread, it waits for one."""
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: Result | None = None
        error: BaseException | None = None
        try:
            result = work()
        except Exception as caught:
            error = caught
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            return  # the loop is closed: nobody asks any more

    _start(loop, future, threading.Thread(target=run, name=name, daemon=True), told=False)
    return future


def _start(
    loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Any]", thread: threading.Thread, told: bool
) -> None:
    """Now, or as soon as the host allows, while somebody waits for it."""
    if future.done():
        return
    try:
        thread.start()
    except RuntimeError as error:
        if not told:
            log.warning("%s waits for a thread: %s; raise the limit of tasks (TasksMax, pids.max)", thread.name, error)
        loop.call_later(START_AGAIN_S, _start, loop, future, thread, True)
