"""What a connection still has to be told, bounded: whoever does not read his answers stops being read."""

from collections import deque
from typing import Final

PAUSE_BYTES: Final = 256 << 10
"""Unsent replies above which the connection is not read; below half of it, it is again."""
LIMIT_BYTES: Final = 4 << 20
"""Unsent replies above which the connection is closed: answers to records accepted before it was paused still come in.
A session can be resumed; one that never reads costs this much and no more."""
_SEND_BYTES_MAX: Final = 128 << 10


class Replies:
    """A queue of whole frames, sent in as few calls as the socket takes. Owns no socket."""

    def __init__(self) -> None:
        self._queue: deque[bytes] = deque()
        self.size_bytes = 0

    def add(self, reply: bytes) -> None:
        self._queue.append(reply)
        self.size_bytes += len(reply)

    @property
    def over_pause(self) -> bool:
        return self.size_bytes > PAUSE_BYTES

    @property
    def under_pause(self) -> bool:
        return self.size_bytes <= PAUSE_BYTES // 2

    @property
    def over_limit(self) -> bool:
        return self.size_bytes > LIMIT_BYTES

    def next_chunk(self) -> bytes:
        """What to hand to the socket now; empty when all is sent. Call :meth:`sent` with what it took."""
        queue = self._queue
        if len(queue) > 1:
            parts, size = [], 0
            while queue and size < _SEND_BYTES_MAX:
                parts.append(queue.popleft())
                size += len(parts[-1])
            queue.appendleft(b"".join(parts))
        return queue[0] if queue else b""

    def sent(self, count: int) -> None:
        """``count`` bytes of the chunk are gone."""
        self.size_bytes -= count
        chunk = self._queue.popleft()
        if count < len(chunk):
            self._queue.appendleft(chunk[count:])

    def clear(self) -> None:
        self._queue.clear()
        self.size_bytes = 0
