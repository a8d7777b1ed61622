"""Work that is too long for the event loop, in a thread that nobody waits for at the end.

An executor's threads are joined when the interpreter ends: one that waits for a dead token endpoint would hold that up.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def in_thread(loop: asyncio.AbstractEventLoop, work: Callable[[], Result], name: str) -> asyncio.Future[Result]:
    """Runs ``work``; its result or exception is the future's."""
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

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
