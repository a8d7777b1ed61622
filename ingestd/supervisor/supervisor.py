"""The supervisor: takes the state directory, has the sockets, starts the workers, watches them, stops them.

One loop over pidfds, status pipes and the signal wakeup descriptor. Signal handlers only enqueue (the interpreter
writes the number into that descriptor); the loop turns wake-ups into events of the state table.
"""

import logging
import os
import resource
import selectors
import signal
import socket
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

from ingestd import scoreboard
from ingestd.config.arena_files import set_aside
from ingestd.config.model import Config
from ingestd.config.plan import ADMIN_NAME, PlanSocket, WorkerPlan
from ingestd.errors import ExitStatus, HostError
from ingestd.log import counted
from ingestd.scoreboard import Pressure, Word, Writer
from ingestd.supervisor import arenas, dumps, lock
from ingestd.supervisor.admin import admin_slot, bind_admin
from ingestd.supervisor.board import make_board
from ingestd.supervisor.memory import MemoryGauge, resident_bytes
from ingestd.supervisor.notify import Notifier, next_alive_ms, watchdog_interval_ms
from ingestd.supervisor.pressure import Thresholds, arena_level, next_pressure
from ingestd.supervisor.processes import PidfdChild, spawn_worker
from ingestd.supervisor.restarts import Verdict
from ingestd.supervisor.slot import SILENT_MS, Slot, starting_silent_ms
from ingestd.supervisor.sockets import (
    Bound,
    bind_all,
    close_all,
    drop_counts,
    parse_listen_fds,
    warn_of_short_queues,
)
from ingestd.supervisor.states import Event, State

logger = logging.getLogger(__name__)

SAMPLE_MS: Final = 1_000
"""How often heartbeats and arena levels are looked at."""
MEMORY_SAMPLES: Final = 5
"""Memory is looked at every so many samples; it changes slowly and costs a walk through /proc."""
_MEMORY_HYSTERESIS: Final = 0.03
"""Memory is shared with others, who may never give back as much as an arena does: this much below its mark is well."""
_OPEN_FILES_MAX: Final = 1 << 20
_LISTEN_VARIABLES: Final = (
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
)


def run(config: Config) -> int:
    """Runs the daemon in the foreground until it is told to stop; returns the exit status of the process.

    ConfigurationError (exit 78) and HostError (exit 75) come out before any worker was started.
    """
    # The kernel gives process 1 of a container only signals that it has a handler for; the waits below may be long.
    signal.signal(signal.SIGTERM, _leave)
    pid = os.getpid()
    inherited = parse_listen_fds(os.environ, pid)
    notifier = Notifier(dict(os.environ))
    watchdog_ms = watchdog_interval_ms(os.environ, pid)
    for name in _LISTEN_VARIABLES:
        os.environ.pop(name, None)
    state_directory = Path(config.daemon.state_directory)
    for directory in (state_directory, Path(config.daemon.arena_directory)):
        _make_directory(directory)
    _raise_open_files()
    if config.producer.has_secrets:
        dumps.forbid()
    held = lock.StateLock.acquire(state_directory, pid, lock.WAIT_MS)
    try:
        # A predecessor's lock dies with it, its workers a moment later, and they hold the sockets.
        bound = bind_all(config, inherited, wait_ms=lock.WAIT_MS)
        warn_of_short_queues(config.listeners)
        try:
            if config.daemon.admin_listen is not None:
                bound.append(
                    bind_admin(config.daemon.admin_listen, inherited.get(ADMIN_NAME, ()), wait_ms=lock.WAIT_MS)
                )
            board_path = state_directory / scoreboard.FILE_NAME
            with make_board(board_path, config, pid, _now_ms()) as board:
                return Supervisor(config, bound, board, board_path, notifier, watchdog_ms).run()
        finally:
            close_all(bound)
    finally:
        held.release()


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        cure = f"make it, writable for uid {os.geteuid()}, or set state.directory and arena.directory"
        raise HostError(f"cannot make the directory {directory}: {error.strerror}: {cure}") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        cure = "give it to that user, or set state.directory and arena.directory"
        raise HostError(f"the directory {directory} is not writable for uid {os.geteuid()}: {cure}")


def _raise_open_files() -> None:
    """Connections are what a daemon spends descriptors on: takes all that the host allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = _OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES_MAX)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _tick_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _leave(*_: object) -> None:
    """No worker lives yet, or any more: there is nothing to drain."""
    raise SystemExit(int(ExitStatus.DONE))


def _ignore(number: int, frame: FrameType | None) -> None:
    """Only there so that the interpreter writes the signal's number into the wakeup descriptor."""


def _lives(slot: Slot) -> bool:
    return slot.child is not None or slot.state is not State.ABSENT


class Supervisor:
    """Owns the slots and the loop."""

    def __init__(
        self,
        config: Config,
        bound: list[Bound],
        board: Writer,
        board_path: Path,
        notifier: Notifier,
        watchdog_ms: int,
    ) -> None:
        self._config = config
        self._bound = bound
        self._board = board
        self._board_path = board_path
        self._notifier = notifier
        self._watchdog_ms = watchdog_ms
        self._selector = selectors.DefaultSelector()
        self._exit_status = int(ExitStatus.DONE)
        self._stopping = False
        self._ready_told = False
        self._samples = 0
        self._sample_due_ms = 0
        self._watchdog_due_ms = 0
        self._grace_from_ms = 0
        self._memory = MemoryGauge()
        self._memory_pressure = Pressure.RUN
        daemon = config.daemon
        self._thresholds = Thresholds(daemon.pressure_high, daemon.pressure_low)
        self._memory_thresholds = Thresholds(
            daemon.pressure_high, max(daemon.pressure_low, daemon.pressure_high - _MEMORY_HYSTERESIS)
        )
        self._arenas = Path(daemon.arena_directory)
        for index, row in enumerate(board.rows):
            # What an inherited socket has dropped before is not ours to count.
            for position, drops in enumerate(drop_counts(bound, index)[: scoreboard.SOCKET_DROPS_MAX]):
                row.set_socket_drops(position, drops)
        self._slots = [
            Slot(
                index,
                row,
                self._spawn,
                stop_timeout_ms=daemon.stop_timeout_ms,
                starting_silent_ms=starting_silent_ms(config.producer.buffer_memory),
            )
            for index, row in enumerate(board.rows)
        ]
        self._admin = next(
            (admin_slot(entry, board.admin, board_path, os.getpid()) for entry in bound if entry.role == "admin"), None
        )

    @property
    def _every_slot(self) -> list[Slot]:
        return self._slots if self._admin is None else [*self._slots, self._admin]

    def run(self) -> int:
        """The loop; returns the daemon's exit status after the last worker is gone."""
        wakeup_read, wakeup_write = socket.socketpair()
        wakeup_read.setblocking(False)
        wakeup_write.setblocking(False)
        # Before the handlers: a signal between them would be taken and never seen.
        previous_fd = signal.set_wakeup_fd(wakeup_write.fileno(), warn_on_full_buffer=False)
        previous = {number: signal.signal(number, _ignore) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        self._selector.register(wakeup_read, selectors.EVENT_READ, partial(self._on_signals, wakeup_read))
        try:
            for slot in self._every_slot:
                self._move(slot, Event.START)
            while any(_lives(slot) for slot in self._slots):
                self._turn()
            if self._admin is not None:
                # The last to go: the drain can be watched.
                self._move(self._admin, Event.STOP)
                while _lives(self._admin):
                    self._turn()
            return self._exit_status
        finally:
            self._kill_all()
            signal.set_wakeup_fd(previous_fd)
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._selector.close()
            wakeup_read.close()
            wakeup_write.close()

    def _kill_all(self) -> None:
        """Our own fault ended the loop: no worker outlives us (each has asked the kernel for the same)."""
        for slot in self._every_slot:
            if slot.child is not None:
                slot.child.send(signal.SIGKILL)

    def _turn(self) -> None:
        """One wait and what it brought."""
        due_ms = min(
            [self._sample_due_ms, *(slot.deadline_ms for slot in self._every_slot if slot.deadline_ms is not None)]
        )
        if self._watchdog_ms:
            due_ms = min(due_ms, self._watchdog_due_ms)
        events = self._selector.select(max(due_ms - _tick_ms(), 0) / 1000)
        tick_ms = _tick_ms()
        if tick_ms - due_ms > SILENT_MS // 2:
            # We were stopped or starved ourselves; so were the workers, most likely.
            self._grace_from_ms = tick_ms
        for key, _ in events:
            key.data()
        for slot in self._every_slot:
            if slot.deadline_ms is not None and slot.deadline_ms <= tick_ms:
                self._move(slot, Event.DEADLINE)
        if tick_ms >= self._sample_due_ms:
            self._sample_due_ms = tick_ms + SAMPLE_MS
            self._sample(tick_ms)
        if self._watchdog_ms and tick_ms >= self._watchdog_due_ms:
            self._watchdog_due_ms = next_alive_ms(tick_ms, self._watchdog_ms, heard=self._notifier.alive())

    def _move(self, slot: Slot, event: Event) -> None:
        before = slot.child
        slot.handle(event, _tick_ms(), _now_ms())
        if slot.child is not None and slot.child is not before:
            self._selector.register(slot.child.pidfd, selectors.EVENT_READ, partial(self._on_death, slot))
            self._selector.register(
                slot.child.status_fd, selectors.EVENT_READ, partial(self._on_status, slot, slot.child)
            )

    def _on_signals(self, wakeup: socket.socket) -> None:
        for number in wakeup.recv(64):
            if number == signal.SIGHUP:
                logger.warning("SIGHUP changes nothing: the configuration is read at the start; restart the daemon")
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._stop(signal.Signals(number).name)

    def _stop(self, reason: str) -> None:
        """First call: drain; second call: hurry."""
        event = Event.HURRY if self._stopping else Event.STOP
        logger.info("%s: %s", reason, "hurrying" if self._stopping else "draining")
        if not self._stopping:
            self._stopping = True
            self._board.stopping()
            self._notifier.stopping()
        for slot in self._slots:
            self._move(slot, event)

    def _on_status(self, slot: Slot, child: PidfdChild) -> None:
        if slot.child is not child:
            return
        before = slot.state
        slot.read_status(_tick_ms(), _now_ms())
        if slot.state is State.READY and before is not State.READY:
            self._samples = 0  # what it takes of memory was looked at before it had imported anything
        if not child.status_open:
            self._selector.unregister(child.status_fd)
        if not self._ready_told and all(other.state is State.READY for other in self._slots):
            self._ready_told = True
            self._notifier.ready(self._status_text())
            workers, listeners = len(self._slots), len(self._config.listeners)
            logger.info("ready: %s, %s", counted(workers, "worker"), counted(listeners, "listener"))

    def _on_death(self, slot: Slot) -> None:
        child = slot.child
        if child is None:
            return
        opening = slot.opening_path
        if child.poll() is None:
            return
        self._selector.unregister(child.pidfd)
        if child.status_fd in self._selector.get_map():
            self._selector.unregister(child.status_fd)
        verdict = slot.reap(_tick_ms(), _now_ms())
        if self._stopping:
            if slot.last_status == ExitStatus.DATA_LOSS_SUSPECTED:
                # Found out in the drain, it asks for a person all the same.
                self._exit_status = slot.last_status
            return
        if verdict is Verdict.GIVE_UP:
            self._exit_status = slot.last_status
            text = slot.fault_text or "its log says why"
            logger.error("worker %d cannot go on (exit status %d): %s", slot.index, slot.last_status, text)
            self._stop("a worker cannot go on")
        elif verdict is Verdict.SET_ASIDE:
            self._put_aside(slot, Path(slot.opening_path or opening))

    def _put_aside(self, slot: Slot, path: Path) -> None:
        try:
            target = set_aside(path)
        except OSError as error:
            logger.error("worker %d: cannot set %s aside: %s", slot.index, path, error.strerror)
            return
        logger.error(
            "worker %d has died three times over %s: set aside as %s, a fresh arena takes its place",
            slot.index,
            path,
            target.name,
        )

    def _sample(self, tick_ms: int) -> None:
        """Heartbeats, pressure, and the line for systemd."""
        self._board.beat(tick_ms)
        for slot in self._every_slot:
            if slot.is_silent(tick_ms, self._grace_from_ms):
                logger.error("%s (pid %d) is silent: it is ended, and started anew", slot.name, slot.row.get(Word.PID))
                self._move(slot, Event.SILENT)
        if self._samples % MEMORY_SAMPLES == 0:
            self._memory_pressure = next_pressure(self._memory_pressure, self._memory.level(), self._memory_thresholds)
            for slot in self._every_slot:
                if slot.child is not None:
                    slot.row.set(Word.RSS_BYTES, resident_bytes(slot.child.pid))
        self._tell_systemd()
        self._samples += 1
        for slot in self._slots:
            row = slot.row
            level = arena_level(row.get(Word.FREE_PAGES), row.get(Word.TOTAL_PAGES))
            slot.arena_pressure = next_pressure(slot.arena_pressure, level, self._thresholds)
            row.set(Word.MEMORY_PRESSURE, self._memory_pressure)
            row.set(Word.PRESSURE, max(slot.arena_pressure, self._memory_pressure))

    def _tell_systemd(self) -> None:
        self._notifier.catch_up()
        if self._stopping:
            return
        if not self._ready_told:
            # An arena's recovery reads all that is buffered, which may take longer than systemd waits by itself; and a
            # worker that cannot start does not end those that can. The slots have their own limits.
            self._notifier.starting(self._status_text())
        elif self._samples % MEMORY_SAMPLES == 0:
            self._notifier.status(self._status_text())

    def _status_text(self) -> str:
        ready = sum(slot.state is State.READY for slot in self._slots)
        buffered = sum(slot.row.get(Word.BUFFERED_RECORDS) for slot in self._slots)
        return f"{ready} of {counted(len(self._slots), 'worker')} ready, {counted(buffered, 'record')} buffered"

    def _spawn(self, index: int) -> PidfdChild:
        return spawn_worker(partial(self._plan, index))

    def _plan(self, index: int, status_fd: int) -> WorkerPlan:
        in_memory = self._config.daemon.durability == "memory"
        # Looked up at every start: a worker that met a changed size has left its old arena under another name.
        names = (path.name for path in self._arenas.iterdir())
        adopted = arenas.assign(names, len(self._slots), in_memory=in_memory)[index]
        return WorkerPlan(
            index=index,
            workers=len(self._slots),
            config=self._config,
            arena_path="" if in_memory else str(self._arenas / arenas.arena_name(index)),
            adopt=tuple(str(self._arenas / name) for name in adopted),
            scoreboard_path=str(self._board_path),
            supervisor_pid=os.getpid(),
            status_fd=status_fd,
            sockets=tuple(
                PlanSocket(listener=entry.listener, role=entry.role, fd=entry.socket.fileno(), path=entry.path)
                for entry in self._bound
                if entry.worker in (-1, index) and entry.role != "admin"
            ),
        )
