"""How a process that may have been stopped itself waits for a peer.

After a stop (SIGSTOP, a frozen container, a paused machine) it comes to its timers first, and what came in time lies
behind them, unread in its sockets.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

LAST_LOOK_MS: Final = 50
"""How long a peer whose time is over is still read."""


@asynccontextmanager
async def time_limit(seconds: float | None) -> AsyncIterator[None]:
    """As ``asyncio.timeout``, and LAST_LOOK_MS more."""
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []
    async with asyncio.timeout(None) as timeout:

        def look() -> None:
            timers.append(loop.call_later(LAST_LOOK_MS / 1000, end))

        def end() -> None:
            # Not at once: whoever has got his answer in this very turn of the loop goes on first.
            timeout.reschedule(loop.time())

        if seconds is not None:
            timers.append(loop.call_later(seconds, look))
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()
