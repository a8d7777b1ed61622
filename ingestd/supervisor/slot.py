"""One worker slot: its state, its process, its row in the scoreboard. Carries out what the state table says."""

import contextlib
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ingestd.scoreboard import Pressure, Row, Word
from ingestd.supervisor.processes import PidfdChild
from ingestd.supervisor.restarts import Restarts, Verdict
from ingestd.supervisor.states import SHOWN, Action, Event, State, step

logger = logging.getLogger(__name__)

SILENT_MS: Final = 10_000
"""A ready worker whose event loop has not stored a heartbeat for this long is hung (it stores one a second)."""
ABORT_MS: Final = 3_000
"""Time for a silent worker to write its stacks after SIGABRT."""
KILL_MS: Final = 5_000
"""SIGKILL is repeated (and logged) this often until the death is seen; only the kernel can hold it up."""
HURRY_MS: Final = 5_000
"""Time for a worker to end after SIGUSR1."""
STOP_SLACK_MS: Final = 2_000
"""A worker keeps to its drain deadline itself; the supervisor steps in this much later."""
_STARTING_SILENT_MS: Final = 60_000
_SLOWEST_DISK_BYTES_PER_MS: Final = 10_000

_OF_THE_LIVING: Final = (Word.CONNECTIONS, Word.SESSIONS, Word.BROKERS_CONNECTED, Word.RSS_BYTES)
"""What a process has only while it lives."""

_SIGNALS: Final = {
    Action.TERMINATE: signal.SIGTERM,
    Action.HURRY: signal.SIGUSR1,
    Action.ABORT: signal.SIGABRT,
    Action.KILL: signal.SIGKILL,
}


def starting_silent_ms(buffer_bytes: int) -> int:
    """How long a start may take before the worker counts as hung: a minute, and making its arena at 10 MB/s."""
    return _STARTING_SILENT_MS + buffer_bytes // _SLOWEST_DISK_BYTES_PER_MS


def _reading_ms(path: str) -> int:
    """How long the slowest disk may take to read all of an arena; 0 for one that is not there (any more)."""
    with contextlib.suppress(OSError):
        return Path(path).stat().st_size // _SLOWEST_DISK_BYTES_PER_MS
    return 0


class Slot:
    """State and process of worker ``index``. ``spawn`` starts its process (OSError: not now); all times are monotonic
    milliseconds. ``name``: how the log calls it; ``restarts``: its tally, if it is not a worker's.
    """

    def __init__(
        self,
        index: int,
        row: Row,
        spawn: Callable[[int], PidfdChild],
        *,
        stop_timeout_ms: int,
        starting_silent_ms: int,
        name: str = "",
        restarts: Restarts | None = None,
    ) -> None:
        self.index = index
        self.name = name or f"worker {index}"
        self.row = row
        self.state = State.ABSENT
        self.child: PidfdChild | None = None
        self.restarts = restarts or Restarts()
        self.deadline_ms: int | None = None
        self.opening_path = ""
        self.fault_text = ""
        self.last_status = 0
        self.arena_pressure = Pressure.RUN
        self._was_ready = False
        self._spawn = spawn
        self._since_ms = 0
        self._opening_since_ms = self._reading_ms = 0
        self._stop_timeout_ms = stop_timeout_ms
        self._starting_silent_ms = starting_silent_ms

    def handle(self, event: Event, tick_ms: int, now_ms: int) -> None:
        """Moves along the table and does what it says."""
        self.state, action = step(self.state, event)
        self.deadline_ms = self._deadline_after(tick_ms)
        self._since_ms = tick_ms
        if action is Action.SPAWN:
            self._start(tick_ms, now_ms)
        elif action is Action.RETRY:
            self.deadline_ms = tick_ms + self.restarts.delay_ms()
            self.row.set(Word.NEXT_RESTART_TICK_MS, self.deadline_ms)
        elif action in _SIGNALS and self.child is not None:
            logger.log(
                logging.INFO if action in (Action.TERMINATE, Action.HURRY) else logging.WARNING,
                "%s (pid %d): %s",
                self.name,
                self.child.pid,
                _SIGNALS[action].name,
            )
            self.child.send(_SIGNALS[action])
        self.row.set(Word.STATE, SHOWN[self.state])

    def _deadline_after(self, tick_ms: int) -> int | None:
        match self.state:
            case State.ABORTING:
                return tick_ms + ABORT_MS
            case State.KILLING | State.ENDING:
                return tick_ms + KILL_MS
            case State.DRAINING:
                return tick_ms + self._stop_timeout_ms + STOP_SLACK_MS
            case State.HURRYING:
                return tick_ms + HURRY_MS
            case _:
                return None

    def _start(self, tick_ms: int, now_ms: int) -> None:
        self.opening_path = self.fault_text = ""
        self._opening_since_ms = self._reading_ms = 0
        self._was_ready = False
        self.arena_pressure = Pressure.RUN
        for word in (Word.HEARTBEAT_TICK_MS, *_OF_THE_LIVING):
            self.row.set(word, 0)
        self.row.set(Word.NEXT_RESTART_TICK_MS, 0)
        self.row.set(Word.STARTED_MS, now_ms)
        self.row.set(Word.PRESSURE, Pressure.RUN)
        try:
            self.child = self._spawn(self.index)
        except OSError as error:
            # No process, no descriptor, no memory for one just now: as if it had died at once.
            self.restarts.not_started()
            self.handle(Event.DIED, tick_ms, now_ms)
            self.row.set(Word.RESTARTS, self.row.get(Word.RESTARTS) + 1)
            logger.error("%s could not be started: %s; next try in %d ms", self.name, error, self.restarts.delay_ms())
            return
        self.row.set(Word.PID, self.child.pid)
        logger.info("%s started (pid %d)", self.name, self.child.pid)
        self._since_ms = tick_ms

    def read_status(self, tick_ms: int, now_ms: int) -> None:
        """Takes in what the process wrote to its status pipe: one that cannot store to the scoreboard beats there."""
        if self.child is None:
            return
        for line in self.child.status_lines():
            word, _, rest = line.partition(" ")
            if word == "opening":
                # It may have several to open, each of another size than its own: one after the other gets its time.
                self.opening_path = rest
                self._opening_since_ms, self._reading_ms = tick_ms, _reading_ms(rest)
            elif word == "beat":
                self.row.beat(tick_ms)
            elif word == "fault":
                self.fault_text = rest
            elif word == "ready":
                self.opening_path = ""
                self._was_ready = True
                self.handle(Event.OPENED, tick_ms, now_ms)
                if self.state is State.READY:
                    self.restarts.became_ready()
                    logger.info("%s is ready (pid %d)", self.name, self.child.pid)

    def reap(self, tick_ms: int, now_ms: int) -> Verdict | None:
        """Called when the pidfd is readable: None if it lives after all, else what its death means."""
        if self.child is None:
            return None
        status = self.child.poll()
        if status is None:
            return None
        self.read_status(tick_ms, now_ms)
        pid = self.child.pid
        self.child.close()
        self.child = None
        self.last_status = status
        for word in (Word.PID, *_OF_THE_LIVING):
            self.row.set(word, 0)
        self.row.set(Word.LAST_EXIT_STATUS, status)
        verdict = self.restarts.died(
            status,
            ready=self._was_ready,
            opening_arena=bool(self.opening_path),
            lived_ms=tick_ms - self._since_ms,
        )
        self.handle(Event.DIED, tick_ms, now_ms)
        if self.state is State.BACKOFF:
            self.row.set(Word.RESTARTS, self.row.get(Word.RESTARTS) + 1)
            logger.warning(
                "%s (pid %d) died: %s; next start in %d ms",
                self.name,
                pid,
                describe_exit(status),
                self.restarts.delay_ms(),
            )
        else:
            logger.info("%s (pid %d) ended: %s", self.name, pid, describe_exit(status))
        return verdict

    def is_silent(self, tick_ms: int, grace_from_ms: int) -> bool:
        """Whether its event loop stopped beating; ``grace_from_ms``: when the supervisor last came out of a stall."""
        if self.state is State.STARTING:
            since_ms = max(self._since_ms, self._opening_since_ms, grace_from_ms)
            return tick_ms - since_ms > self._starting_silent_ms + self._reading_ms
        if self.state is State.READY:
            beat_ms = max(self.row.get(Word.HEARTBEAT_TICK_MS), self._since_ms, grace_from_ms)
            return tick_ms - beat_ms > SILENT_MS
        return False


def describe_exit(status: int) -> str:
    """An exit status for people."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
