"""The demo's daemon: a real ``ingestd run`` below a folder of its own."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from ingestd import scoreboard
from ingestd.admin.status import Status, read_status
from ingestd.config.faults import toml_text
from ingestd.errors import ClusterError, DaemonError, HostDaemonAbsentError
from ingestd.log import printable
from ingestd.metrics import Balance, Ledger, name_of, reasons_counted
from ingestd.scoreboard import WorkerState
from ingestd.supervisor.processes import PYTHON

WORKERS: Final = 2
_READY_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 30.0
_STALLED_SECONDS: Final = 30.0
_LOST_SECONDS: Final = 15.0
"""Records that were sent and have not been received by then never will be: the kernel has dropped them."""

_CONFIGURATION: Final = """
[daemon]
workers = {workers}
state.directory = {state}
stop.timeout.ms = 10000

[producer]
bootstrap.servers = {bootstrap_servers}
buffer.memory = 16777216
compression.type = "lz4"

[[listeners]]
name = "app"
listen = {app}
format = "frames"
topics = ["orders"]

[[listeners]]
name = "log"
listen = {log}
format = "raw"
topic = "logs"

[[listeners]]
name = "devices"
listen = {devices}
format = "lines"
topic = "readings"
key = {{ field = 1, delimiter = "\\t" }}
when_full = "block"
"""


class DemoDaemon:
    """Starts on entering, ready when entered; gone on leaving, whatever happened."""

    def __init__(self, folder: Path, bootstrap_servers: list[str], udp_port: int) -> None:
        self.addresses = {
            "app": f"unix-stream:{folder}/app.sock",
            "log": f"unix-datagram:{folder}/log.sock",
            "devices": f"udp:127.0.0.1:{udp_port}",
        }
        self._scoreboard = folder / "state" / scoreboard.FILE_NAME
        self._log = folder / "ingestd.log"
        self._configuration = folder / "ingestd.toml"
        self._configuration.write_text(
            _CONFIGURATION.format(
                workers=WORKERS,
                state=toml_text(f"{folder}/state"),
                bootstrap_servers=toml_text(bootstrap_servers),
                **{name: toml_text(address) for name, address in self.addresses.items()},
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [*PYTHON, "-m", "ingestd", "run", "-c", str(self._configuration)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)  # noqa: S603
        try:
            self._await_ready()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._kill()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            self._check_alive()
            with contextlib.suppress(HostDaemonAbsentError):
                if all(worker.state is WorkerState.READY for worker in self.status().workers):
                    return
            time.sleep(0.02)
        self.tell_log()
        raise DaemonError(f"the daemon was not ready within {_READY_SECONDS:.0f} s")

    def _check_alive(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self.tell_log()
            raise DaemonError("the daemon has ended")

    def tell_log(self) -> None:
        """The last lines of the daemon's own log, before its folder is cleared away."""
        for line in self._log.read_text(errors="replace").splitlines()[-15:]:
            print(f"  {printable(line, 2000)}", file=sys.stderr)

    def status(self) -> Status:
        return read_status(self._scoreboard)

    def kernel_dropped(self) -> int:
        """Datagrams that found no room in a socket's queue."""
        return self.status().ledger[Ledger.KERNEL_DROPPED]

    def losses(self) -> list[str]:
        """Records that it did not deliver, a line for every reason."""
        return [f"{name_of(reason)}: {text}, {n}" for reason, text, n in reasons_counted(self.status().ledger)]

    def received(self) -> int:
        """Records read from sockets so far."""
        return self.status().ledger[Ledger.RECEIVED]

    def await_settled(self, count: int) -> Balance:
        """Waits until ``count`` records are delivered, or nothing is left to deliver; ClusterError if Kafka stalls."""
        last: Balance | None = None
        moved = time.monotonic()
        while True:
            self._check_alive()
            books = self.status().balance
            if books.delivered >= count and books.buffered == 0:
                return books
            if books != last:
                last, moved = books, time.monotonic()
            still_seconds = time.monotonic() - moved
            if books.buffered == 0 and still_seconds > _LOST_SECONDS:
                return books
            if still_seconds > _STALLED_SECONDS:
                self.tell_log()
                raise ClusterError(f"nothing moves any more: {books.delivered} of {count} records delivered, {books}")
            time.sleep(0.02)

    def cpu_seconds(self) -> float:
        """Processor time of supervisor and workers so far."""
        if self._process is None:
            return 0.0
        supervisor = psutil.Process(self._process.pid)
        times = [process.cpu_times() for process in (supervisor, *supervisor.children(recursive=True))]
        return sum(used.user + used.system for used in times)

    def stop(self) -> int:
        """SIGTERM, and the daemon's exit status once it has drained."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.tell_log()
            raise DaemonError("the daemon did not stop in time") from None

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            workers = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
            self._process.wait()
            psutil.wait_procs(workers, timeout=_STOP_SECONDS)
