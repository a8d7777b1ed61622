"""When to tell readers that pages came back, where no batch has ended. Pure.

Sealing trims a batch's tail and compression shrinks it, with Kafka away as well; both happen while a reader that found
no room is still on its way into the line of those who wait.
"""

from typing import Final

_NEVER_SHORT: Final = 1 << 62


class PageWatch:
    """Remembers how few pages were free since whoever waits for some was last told to try again."""

    def __init__(self) -> None:
        self._least_pages = _NEVER_SHORT

    def look(self, free_pages: int, *, awaited: bool) -> bool:
        """Whether those who wait should try again; ``awaited``: there are some."""
        if awaited and free_pages > self._least_pages:
            self._least_pages = free_pages
            return True
        self._least_pages = min(self._least_pages, free_pages)
        return False
