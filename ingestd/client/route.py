"""Route: where to connect next, and when. Pure: time is handed in, nothing is opened here."""

import os.path
from collections.abc import Callable
from typing import Final

# A session lives with one worker, whose path is always bound while the daemon runs: it alone is tried at first. If it
# stays away that long, the daemon may run with fewer workers now, and the shared path knows who has the session.
OWN_PATH_PATIENCE_MS: Final = 3000

REDIRECTS_IN_A_ROW_MAX: Final = 3


class Route:
    """Paths of one address. After success it is the session's own path that is tried first."""

    def __init__(self, path: str, backoff_ms: int, backoff_max_ms: int, jitter: Callable[[], float]) -> None:
        self._shared = path
        self._own = ""
        self._backoff_ms = backoff_ms
        self._backoff_max_ms = backoff_max_ms
        self._jitter = jitter  # gives 0.0 to 1.0
        self._failures = 0
        self._redirects = 0
        self._lost_ms = -1
        self._attempts = 0
        self.due_ms = 0

    def granted(self, own_path: str) -> None:
        """A session was granted or resumed; the empty path says that there is none."""
        self._own = own_path
        self._redirects = 0

    def progress(self) -> None:
        """Records were answered: the next loss is a new one, and the first attempt after it is made at once."""
        self._failures = 0

    def redirect(self, path: str, now_ms: int) -> None:
        """The session lives over there. A ring of redirects ends in backoff."""
        self._own = path
        self._attempts = 0
        self._redirects += 1
        if self._redirects > REDIRECTS_IN_A_ROW_MAX:
            self._wait(now_ms)
        else:
            self.due_ms = now_ms

    def lost(self, now_ms: int) -> None:
        """A connection ended."""
        self._lost_ms = now_ms
        self._attempts = 0
        if self._failures == 0:
            self._failures = 1
            self.due_ms = now_ms
        else:
            self._wait(now_ms)

    def failed(self, now_ms: int) -> None:
        """A connection could not be made."""
        self._attempts += 1
        self._wait(now_ms)

    def _wait(self, now_ms: int) -> None:
        delay_ms = min(self._backoff_max_ms, self._backoff_ms << min(self._failures, 16))
        self._failures += 1
        self.due_ms = now_ms + round(delay_ms * (0.8 + 0.4 * self._jitter()))

    def path(self, now_ms: int) -> str:
        """The path to try now. Of several candidates each gets its turn."""
        if not self._own:
            return self._shared
        candidates = [self._own]
        # In another mount namespace the socket's directory has another name; the last component is the same.
        sibling = os.path.join(os.path.dirname(self._shared), os.path.basename(self._own))  # noqa: PTH118, PTH119, PTH120
        if sibling != self._own:
            candidates.append(sibling)
        if now_ms - self._lost_ms > OWN_PATH_PATIENCE_MS:
            candidates.append(self._shared)
        return candidates[self._attempts % len(candidates)]
