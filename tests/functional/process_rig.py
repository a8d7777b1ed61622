"""Runs the supervisor over ``process_child`` workers, with its patience cut short, in a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ingestd import config, log
from ingestd.errors import IngestdError
from ingestd.metrics import Balance, Counted, balance, reasons_counted
from ingestd.scoreboard import Reader, Row, Word
from ingestd.supervisor import lock, processes, slot, supervisor

SECONDS_MAX = 45.0
"""For what comes at once where all is well; a busy host needs longer, and what hangs does not come at all."""


class Rig:
    """A supervisor in ``folder``; ``patience``: constants of ``lock``, ``slot`` and ``supervisor``."""

    def __init__(self, folder: Path, *, workers: int = 1, stop_timeout_ms: int = 2000, **patience: int) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.state.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log"
        self._patience = patience
        (folder / "ingestd.toml").write_text(
            f"[daemon]\nworkers = {workers}\nstate.directory = '{self.state}'\nstop.timeout.ms = {stop_timeout_ms}\n"
            "[producer]\nbootstrap.servers = ['127.0.0.1:9']\n"
            f"[[listeners]]\nname = 'a'\nlisten = 'unix-datagram:{folder}/a'\nformat = 'raw'\ntopic = 't'\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def order(self, *orders: str, worker: int = 0) -> None:
        """What the worker does at its first start, its second, and so on."""
        (self.state / f"orders-{worker}").write_text("\n".join(orders))

    def configure(self, text: str) -> None:
        """Writes this to the end of the configuration."""
        with (self.folder / "ingestd.toml").open("a") as file:
            file.write(text)

    def start(self, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.functional.process_rig", str(self.folder), json.dumps(self._patience)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
            )
        return self.process

    def starts(self, worker: int = 0) -> list[tuple[str, int, bool]]:
        """(order, tick in ms, whether the arena's file was there) of every start."""
        path = self.state / f"starts-{worker}"
        if not path.exists():
            return []
        lines = [line.rsplit(" ", 2) for line in path.read_text().splitlines()]
        return [(order, int(tick), found == "True") for order, tick, found in lines]

    @property
    def scored(self) -> bool:
        """Whether there is a scoreboard."""
        return (self.state / "scoreboard").exists()

    def row(self, worker: int = 0) -> tuple[int, str, int, int]:
        """(pid, state, restarts, last exit status) of a worker."""
        with Reader.open(self.state / "scoreboard") as board:
            return read_row(board.rows[worker])

    def resident_bytes(self, worker: int = 0) -> int:
        """What the scoreboard says of its memory."""
        with Reader.open(self.state / "scoreboard") as board:
            return board.rows[worker].get(Word.RSS_BYTES)

    def books(self, worker: int = 0) -> tuple[Balance, list[Counted]]:
        """What a worker has published: its books summed up, and its reasons."""
        with Reader.open(self.state / "scoreboard") as board:
            published = board.rows[worker].published()
            return balance(published.ledger, published.buffered_records), reasons_counted(published.ledger)

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + SECONDS_MAX
        while not condition():
            assert time.monotonic() < deadline, f"waited for {what}\n{self.text}"
            time.sleep(0.02)

    def wait_ready(self, worker: int = 0) -> int:
        """Waits until the worker is ready; its pid."""
        self.wait_for(lambda: self.scored and self.row(worker)[1] == "READY", "a ready worker")
        return self.row(worker)[0]

    def wait_end(self) -> int:
        assert self.process is not None
        return self.process.wait(SECONDS_MAX)

    @property
    def text(self) -> str:
        return self.log.read_text()

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def read_row(row: Row) -> tuple[int, str, int, int]:
    return row.get(Word.PID), row.state.name, row.get(Word.RESTARTS), row.get_signed(Word.LAST_EXIT_STATUS)


def main(folder: str, patience: str) -> int:
    log.configure("supervisor")
    processes.WORKER_COMMAND = (sys.executable, "-m", "tests.functional.process_child")  # type: ignore[misc]
    for name, value in json.loads(patience).items():
        setattr(next(module for module in (lock, slot, supervisor) if hasattr(module, name)), name, value)
    try:
        return supervisor.run(config.load(Path(folder) / "ingestd.toml"))
    except IngestdError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_status)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
