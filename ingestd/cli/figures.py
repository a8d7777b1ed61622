"""The daemon's figures, copied from its scoreboard and judged: what ``ingestd status`` prints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from ingestd import scoreboard
from ingestd.cli.common import duration_text
from ingestd.errors import HostDaemonAbsentError
from ingestd.metrics import LEDGER_WORDS, Balance, balance
from ingestd.scoreboard import Header, Pressure, Published, Reader, Row, Word, WorkerState

HEARTBEAT_STALE_MS: Final = 10_000
_CLOCK_STEP_SECONDS: Final = 5


@dataclass(frozen=True)
class WorkerStatus:
    """One worker's row, copied."""

    index: int
    state: WorkerState
    pressure: Pressure
    words: dict[Word, int]
    last_exit_status: int
    published: Published

    @property
    def balance(self) -> Balance:
        return balance(self.published.ledger, self.published.buffered_records)

    @property
    def arena_level(self) -> float:
        """Share of the pages in use, 0 to 1."""
        total = self.published.total_pages
        return 1 - self.published.free_pages / total if total else 0.0


@dataclass(frozen=True)
class Status:
    """The scoreboard, copied."""

    header: Header
    workers: tuple[WorkerStatus, ...]

    @property
    def ledger(self) -> tuple[int, ...]:
        """The workers' ledgers, added up."""
        return tuple(sum(worker.published.ledger[word] for worker in self.workers) for word in range(LEDGER_WORDS))

    @property
    def balance(self) -> Balance:
        return balance(self.ledger, sum(worker.published.buffered_records for worker in self.workers))

    def complaints(self, tick_ms: int) -> list[str]:
        """Why the daemon is not well, one sentence each; empty: it is."""
        found = ["the daemon is stopping"] if self.header.stopping else []
        for worker in self.workers:
            found += [f"worker {worker.index} {text}" for text in _complaints_of(worker, tick_ms)]
        return found


def _complaints_of(worker: WorkerStatus, tick_ms: int) -> list[str]:
    found = []
    published = worker.published
    if worker.state is not WorkerState.READY:
        found.append(f"is {worker.state.name.lower()} (last exit status {worker.last_exit_status})")
    silent_ms = tick_ms - worker.words[Word.HEARTBEAT_TICK_MS]
    if worker.state is WorkerState.READY and silent_ms > HEARTBEAT_STALE_MS:
        found.append(f"has been silent for {duration_text(silent_ms)}")
    if worker.pressure is not Pressure.RUN:
        found.append("is under pressure: senders wait" if worker.pressure is Pressure.PAUSE else "sheds records")
    if published.buffered_records and not worker.words[Word.BROKERS_CONNECTED]:
        found.append("has no connection to Kafka and buffers")
    if not published.consistent:
        found.append("died while it published its figures")
    elif not worker.balance.balanced:
        intake, delivery = worker.balance.intake_residual, worker.balance.delivery_residual
        found.append(f"does not balance: {intake} of received and {delivery} of accepted records are unaccounted for")
    return found


def read_status(path: Path) -> Status:
    """Copies the scoreboard at ``path``; HostDaemonAbsentError if its supervisor is not alive."""
    try:
        with Reader.open(path) as board:
            header = board.header()
            workers = tuple(_worker(index, row) for index, row in enumerate(board.rows))
    except FileNotFoundError:
        raise HostDaemonAbsentError(f"not running: there is no {path}") from None
    except (OSError, scoreboard.ScoreboardError) as error:
        raise HostDaemonAbsentError(f"cannot tell: {error}") from None
    if not _alive(header):
        raise HostDaemonAbsentError(f"not running: process {header.supervisor_pid} of {path} is gone")
    return Status(header, workers)


def _worker(index: int, row: Row) -> WorkerStatus:
    return WorkerStatus(
        index=index,
        state=row.state,
        pressure=row.pressure,
        words={word: row.get(word) for word in Word if word < Word.SEQLOCK},
        last_exit_status=row.get_signed(Word.LAST_EXIT_STATUS),
        published=row.published(),
    )


def _alive(header: Header) -> bool:
    """Whether the supervisor still runs; a process younger than the scoreboard has only inherited its number."""
    try:
        created = psutil.Process(header.supervisor_pid).create_time()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    return created <= header.started_ms / 1000 + _CLOCK_STEP_SECONDS
