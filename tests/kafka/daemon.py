"""Runs the real daemon for a test: writes its configuration, starts it, kills parts of it, reads its status."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ingestd import scoreboard
from ingestd.admin.status import read_status
from ingestd.cli.status import as_json
from ingestd.scoreboard import Reader, Word, WorkerState
from tests.kafka.processes import spawn, tail

HANG_SECONDS_MIN: Final = 60.0
"""No wait for what comes at once where all is well ends sooner: a busy host needs longer than any test thinks."""
DEATHS_MAX: Final = 3
COMMAND: Final = [sys.executable, "-m", "ingestd"]

Setting = str | int | float | bool | Sequence[Any] | Mapping[str, Any]


class DaemonError(Exception):
    """The daemon did not do in time what was expected of it; its log is in the test's report."""


def toml(value: Setting) -> str:
    """A value as TOML, tables inline."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(name)} = {toml(item)}" for name, item in value.items()) + " }"
    return "[" + ", ".join(toml(item) for item in value) + "]"


def free_udp_port() -> int:
    """A UDP port of the loopback interface that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Daemon:
    """One daemon with its own state directory; may be started again on it after its end or its death.

    ``listeners`` are tables of ``[[listeners]]``; in ``listen``, ``{sockets}`` stands for a folder with a short name
    (a socket's path has at most 107 bytes). ``topics``, ``producer`` and ``settings`` (of ``[daemon]``) are written as
    they are.
    """

    def __init__(
        self,
        folder: Path,
        bootstrap: str,
        listeners: Sequence[Mapping[str, Setting]],
        *,
        topics: Mapping[str, Mapping[str, Setting]] | None = None,
        workers: int = 2,
        producer: Mapping[str, Setting] | None = None,
        settings: Mapping[str, Setting] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.sockets = Path(tempfile.mkdtemp(prefix="ingestd-"))
        self.state_directory = folder / "state"
        self.configuration = folder / "ingestd.toml"
        self.log = folder / "ingestd.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._bootstrap = bootstrap
        self._listeners = listeners
        self._topics = topics or {}
        self.configure(workers=workers, producer=producer, settings=settings)

    def configure(
        self,
        *,
        workers: int = 2,
        producer: Mapping[str, Setting] | None = None,
        settings: Mapping[str, Setting] | None = None,
    ) -> None:
        """Writes the configuration file; it counts from the next start on."""
        sections: list[tuple[str, Mapping[str, Setting]]] = [
            ("[daemon]", {"workers": workers, "state.directory": str(self.state_directory), **(settings or {})}),
            (
                "[producer]",
                {"bootstrap.servers": self._bootstrap.split(","), "buffer.memory": 16 << 20, **(producer or {})},
            ),
        ]
        sections += [(f"[topics.{json.dumps(name)}]", table) for name, table in self._topics.items()]
        sections += [
            ("[[listeners]]", {**table, "listen": self.address(str(table["listen"]))}) for table in self._listeners
        ]
        self.configuration.write_text(
            "\n".join(
                header + "\n" + "".join(f"{json.dumps(name)} = {toml(value)}\n" for name, value in table.items())
                for header, table in sections
            )
        )

    def address(self, template: str) -> str:
        """``unix-stream:{sockets}/app`` with the folder filled in."""
        return template.replace("{sockets}", str(self.sockets))

    def start(self, *, ready: bool = True, log_level: str = "info") -> None:
        """Starts ``ingestd run``; with ``ready``, waits until every worker accepts."""
        assert self._process is None or self._process.poll() is not None, "the daemon runs already"
        command = [*COMMAND, "--log-level", log_level, "run", "-c", str(self.configuration)]
        self._process = spawn(command, output=self.log)
        if ready:
            self.wait_ready()

    def wait_ready(self, seconds: float = HANG_SECONDS_MIN) -> None:
        """Waits until every worker is ready; gives up when one dies again and again."""

        def ready() -> bool:
            if any(restarts > DEATHS_MAX for restarts in self.restarts()):
                raise DaemonError("a worker dies again and again")
            return all(state is WorkerState.READY for state in self.worker_states())

        self.wait_for(ready, seconds, "every worker ready")

    def wait_for(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Waits until ``condition``, HANG_SECONDS_MIN at least; the daemon may not end meanwhile.

        Who wants to know how long something takes measures it.
        """
        seconds = max(seconds, HANG_SECONDS_MIN)
        deadline = time.monotonic() + seconds
        while not condition():
            if self._process is not None and self._process.poll() is not None:
                raise DaemonError(f"the daemon ended with {self._process.returncode}")
            if time.monotonic() > deadline:
                raise DaemonError(f"waited {seconds} s for: {what}")
            time.sleep(0.05)

    @property
    def supervisor_pid(self) -> int:
        """The daemon's process id."""
        assert self._process is not None
        return self._process.pid

    def _rows(self) -> list[tuple[int, WorkerState, int]]:
        """(pid, state, restarts) of every worker; empty while this daemon has not made its scoreboard."""
        try:
            with Reader.open(self.state_directory / scoreboard.FILE_NAME) as board:
                if board.header().supervisor_pid != self.supervisor_pid:
                    return []
                return [(row.get(Word.PID), row.state, row.get(Word.RESTARTS)) for row in board.rows]
        except (FileNotFoundError, scoreboard.ScoreboardError):
            return []

    def worker_pids(self) -> list[int]:
        """The workers' process ids, by index."""
        return [pid for pid, _, _ in self._rows()]

    def worker_states(self) -> list[WorkerState]:
        """The workers' states, by index; one ABSENT while nothing is known."""
        return [state for _, state, _ in self._rows()] or [WorkerState.ABSENT]

    def restarts(self) -> list[int]:
        """How often each worker was started again, by index."""
        return [restarts for _, _, restarts in self._rows()]

    def status(self) -> dict[str, Any]:
        """What ``ingestd status --json`` prints."""
        command = [*COMMAND, "status", "-c", str(self.configuration), "--json"]
        outcome = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if outcome.returncode not in (0, 1):
            raise DaemonError(f"status ended with {outcome.returncode}: {outcome.stderr}")
        found: dict[str, Any] = json.loads(outcome.stdout)
        return found

    def look(self) -> dict[str, Any]:
        """The same, read here: for what must be known before a command would have started."""
        status = read_status(self.state_directory / scoreboard.FILE_NAME)
        return as_json(status, [], time.monotonic_ns() // 1_000_000)

    def ledger(self) -> dict[str, Any]:
        """The daemon's books, workers added up, from the scoreboard."""
        ledger: dict[str, Any] = self.status()["ledger"]
        return ledger

    def wait_settled(self, accepted: int, seconds: float = 60.0) -> dict[str, Any]:
        """Waits until that many records were accepted and none is buffered any more; returns the balanced books."""
        last: dict[str, Any] = {}

        def settled() -> bool:
            last.update(self.ledger())
            return bool(last["accepted"] >= accepted and last["buffered"] == 0)

        try:
            self.wait_for(settled, seconds, f"{accepted} records accepted and none buffered")
        except DaemonError as error:
            raise DaemonError(f"{error}\nbooks: {last}") from None
        if not last["balanced"]:
            raise DaemonError(f"the books do not balance: {last}")
        return last

    def kill_worker(self, index: int) -> None:
        """SIGKILL to one worker; does not wait."""
        pid = self.worker_pids()[index]
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_all(self) -> None:
        """SIGKILL to the supervisor and every worker, all at once; waits until they are gone."""
        assert self._process is not None
        pids = [pid for pid in self.worker_pids() if pid]
        for pid in (self._process.pid, *pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + HANG_SECONDS_MIN
        while any(_lives(pid) for pid in pids):
            if time.monotonic() > deadline:
                raise DaemonError(f"workers {pids} survived SIGKILL")
            time.sleep(0.01)

    def stop(self, seconds: float = HANG_SECONDS_MIN) -> int:
        """SIGTERM; returns the exit status."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill_all()
            raise DaemonError(f"the daemon did not end within {seconds} s of SIGTERM") from None

    def wait_end(self, seconds: float = 45.0) -> int:
        """Waits until the daemon ends by itself; returns the exit status."""
        assert self._process is not None
        return self._process.wait(seconds)

    def close(self) -> None:
        """Whatever still runs is killed, the sockets' folder removed; state and log stay in ``folder``."""
        if self._process is not None and self._process.poll() is None:
            self.kill_all()
        shutil.rmtree(self.sockets, ignore_errors=True)

    def cpu_seconds(self) -> float:
        """CPU time of the daemon and its workers until now."""
        ticks = 0
        for pid in (self.supervisor_pid, *self.worker_pids()):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def cost_of_waiting(self, seconds: float, enough: float) -> float:
        """CPU time that it takes within so many seconds: the lowest of three tries, or the first below ``enough``. On a
        busy host it may be behind with what came before."""
        found: list[float] = []
        while len(found) < 3 and not any(each < enough for each in found):
            before = self.cpu_seconds()
            time.sleep(seconds)
            found.append(self.cpu_seconds() - before)
        return min(found)

    def report(self) -> str:
        """The last lines of the daemon's log."""
        return f"--- {self.log}\n{tail(self.log, 80)}"


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
