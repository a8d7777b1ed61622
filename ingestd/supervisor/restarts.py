"""When a dead worker is started again, and when its arena is to blame. Pure: time goes in, delays come out."""

import signal
from dataclasses import dataclass
from enum import Enum
from typing import Final

from ingestd.errors import ExitStatus

FIRST_DELAY_MS: Final = 250
DELAY_MS_MAX: Final = 30_000
SETTLED_MS: Final = 60_000
"""A helper that has lived so long begins its tally of deaths anew."""
ARENA_FAULTS_MAX: Final = 3
"""Faults of its own while opening one arena, after which that arena is set aside."""

_ARENA_FAULTS: Final = frozenset({-signal.SIGSEGV, -signal.SIGBUS, int(ExitStatus.SOFTWARE)})
_CANNOT_START: Final = frozenset({int(ExitStatus.CANNOT_START_NOW), int(ExitStatus.CONFIGURATION)})


class Verdict(Enum):
    """What a death means for the slot."""

    RESTART = "restart"
    SET_ASIDE = "set aside the arena, then restart"
    GIVE_UP = "stop the daemon with the worker's exit status"


@dataclass
class Restarts:
    """The tally of one worker slot.

    ``deaths_before_ready`` in a row make the delay grow; a worker that became ready starts the tally afresh.
    ``helper``: a process that nothing hangs on. Its deaths when ready count too (one at every request must not cost the
    workers their processor), and none ends the daemon.
    """

    helper: bool = False

    deaths_before_ready: int = 0
    arena_faults: int = 0
    was_ever_ready: bool = False

    def became_ready(self) -> None:
        if self.helper:
            return
        self.deaths_before_ready = 0
        self.arena_faults = 0
        self.was_ever_ready = True

    def not_started(self) -> None:
        """The host could not make the process: it may later."""
        self.deaths_before_ready += 1

    def died(self, status: int, *, ready: bool, opening_arena: bool, lived_ms: int = 0) -> Verdict:
        """``status``: exit status, or minus the signal. SIGKILL (the OOM killer's too) never blames an arena.

        ``lived_ms``: since it was started, or ready.
        """
        if self.helper:
            self.deaths_before_ready = 1 if ready and lived_ms >= SETTLED_MS else self.deaths_before_ready + 1
            return Verdict.RESTART
        if status == ExitStatus.DATA_LOSS_SUSPECTED:
            return Verdict.GIVE_UP
        if ready:
            return Verdict.RESTART
        if status in _CANNOT_START and not self.was_ever_ready:
            return Verdict.GIVE_UP
        self.deaths_before_ready += 1
        if opening_arena and status in _ARENA_FAULTS:
            self.arena_faults += 1
            if self.arena_faults >= ARENA_FAULTS_MAX:
                self.arena_faults = 0
                self.deaths_before_ready = 0
                return Verdict.SET_ASIDE
        return Verdict.RESTART

    def delay_ms(self) -> int:
        """Time from the death to the next start: the first is immediate, then 250 ms doubling up to 30 s."""
        repeated = self.deaths_before_ready - 1
        if repeated < 1:
            return 0
        return int(min(FIRST_DELAY_MS << min(repeated - 1, 10), DELAY_MS_MAX))
