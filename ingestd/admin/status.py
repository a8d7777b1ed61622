"""The daemon's figures, copied from its scoreboard and judged: what ``ingestd status``, the page and /metrics show."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ingestd import scoreboard
from ingestd.admin.text import duration_text
from ingestd.errors import HostDaemonAbsentError
from ingestd.figures import BOUNDS, NOT_CONFIGURED, SUM_WORD, Count, Histogram, Reading, TopicWord
from ingestd.metrics import LEDGER_WORDS, Balance, balance
from ingestd.scoreboard import Header, Pressure, Published, Reader, Row, Word, WorkerState

HEARTBEAT_STALE_MS: Final = 10_000


@dataclass(frozen=True)
class WorkerStatus:
    """One worker's row, copied."""

    index: int
    state: WorkerState
    pressure: Pressure
    words: dict[Word, int]
    last_exit_status: int
    published: Published
    figures: Reading

    @property
    def balance(self) -> Balance:
        return balance(self.published.ledger, self.published.buffered_records)

    @property
    def arena_level(self) -> float:
        """Share of the pages in use, 0 to 1."""
        total = self.published.total_pages
        return 1 - self.published.free_pages / total if total else 0.0


@dataclass(frozen=True)
class AdminStatus:
    """The admin process's row, copied; ABSENT where none is asked for."""

    state: WorkerState
    words: dict[Word, int]


@dataclass(frozen=True)
class Status:
    """The scoreboard, copied. ``topics``: names of the rows of every worker's figures."""

    header: Header
    workers: tuple[WorkerStatus, ...]
    admin: AdminStatus
    topics: tuple[str, ...]

    def count(self, count: Count) -> int:
        """All workers' count."""
        return sum(worker.figures.counts[count] for worker in self.workers)

    def topic(self, name: str) -> tuple[int, ...]:
        """All workers' row of a topic, by :class:`TopicWord`; the oldest is the oldest of all."""
        rows = [worker.figures.topics[name] for worker in self.workers]
        words = [sum(column) for column in zip(*rows, strict=True)]
        oldest = [row[TopicWord.OLDEST_CREATED_MS] for row in rows if row[TopicWord.OLDEST_CREATED_MS]]
        words[TopicWord.OLDEST_CREATED_MS] = min(oldest, default=0)
        return tuple(words)

    def histogram(self, histogram: Histogram) -> tuple[int, ...]:
        """All workers' buckets, the sum in the last word."""
        return tuple(
            sum(column) for column in zip(*(w.figures.histograms[histogram] for w in self.workers), strict=True)
        )

    @property
    def errors(self) -> dict[str, int]:
        """Errors that batches have met, by name."""
        found: dict[str, int] = {}
        for worker in self.workers:
            for name, count in worker.figures.errors.items():
                found[name] = found.get(name, 0) + count
        return dict(sorted(found.items()))

    @property
    def ledger(self) -> tuple[int, ...]:
        """The workers' ledgers, added up."""
        return tuple(sum(worker.published.ledger[word] for worker in self.workers) for word in range(LEDGER_WORDS))

    @property
    def balance(self) -> Balance:
        return balance(self.ledger, sum(worker.published.buffered_records for worker in self.workers))

    def supervisor_silent_ms(self, tick_ms: int) -> int:
        """Time since its loop came by; 0 before it did so first."""
        beat_ms = self.header.heartbeat_tick_ms
        return max(tick_ms - beat_ms, 0) if beat_ms else 0

    def complaints(self, tick_ms: int) -> list[str]:
        """Why the daemon is not well, one sentence each; empty: it is."""
        found = ["the daemon is stopping"] if self.header.stopping else []
        if self.supervisor_silent_ms(tick_ms) > HEARTBEAT_STALE_MS:
            found.append(f"the supervisor has been silent for {duration_text(self.supervisor_silent_ms(tick_ms))}")
        if self.admin.state is WorkerState.BACKOFF:
            found.append(f"the admin process is {state_text(self.admin.state)}")
        for worker in self.workers:
            found += [f"worker {worker.index} {text}" for text in _complaints_of(worker, tick_ms)]
        return found


def state_text(state: WorkerState) -> str:
    """What stands behind "is"."""
    return "in backoff" if state is WorkerState.BACKOFF else state.name.lower()


def _complaints_of(worker: WorkerStatus, tick_ms: int) -> list[str]:
    found = []
    published = worker.published
    if worker.state is not WorkerState.READY:
        ended = f" (last exit status {worker.last_exit_status})" if worker.words[Word.RESTARTS] else ""
        found.append(f"is {state_text(worker.state)}{ended}")
    silent_ms = tick_ms - worker.words[Word.HEARTBEAT_TICK_MS]
    if worker.state is WorkerState.READY and silent_ms > HEARTBEAT_STALE_MS:
        found.append(f"has been silent for {duration_text(silent_ms)}")
    if worker.pressure is not Pressure.RUN:
        found.append("is under pressure: senders wait" if worker.pressure is Pressure.PAUSE else "sheds records")
    if not worker.words[Word.BROKERS_CONNECTED]:
        if published.buffered_records:
            found.append("has no connection to Kafka and buffers")
        elif worker.figures.troubles:
            found.append("has no connection to Kafka")
    if not published.consistent:
        found.append("died while it published its figures")
    elif not worker.balance.balanced:
        intake, delivery = worker.balance.intake_residual, worker.balance.delivery_residual
        found.append(f"does not balance: {intake} of received and {delivery} of accepted records are unaccounted for")
    return found


def quantile(buckets: Sequence[int], histogram: Histogram, share: float) -> int | None:
    """The bound under which ``share`` of all values lie, as buckets tell it; None: no values, or above all bounds."""
    bounds = BOUNDS[histogram]
    wanted = share * sum(buckets[:SUM_WORD])
    below = 0
    for bound, count in zip(bounds, buckets, strict=False):
        below += count
        if below and below >= wanted:
            return bound
    return None


def read_status(path: Path) -> Status:
    """Copies the scoreboard at ``path``; HostDaemonAbsentError if its supervisor is not alive."""
    try:
        with Reader.open(path) as board:
            status = copy_status(board)
    except FileNotFoundError:
        raise HostDaemonAbsentError(f"not running: there is no {path}") from None
    except PermissionError as error:
        cure = "become a member of the daemon's group, or ask as its user"
        raise HostDaemonAbsentError(f"cannot tell: {path}: {error.strerror}; {cure}") from None
    except (OSError, scoreboard.ScoreboardError) as error:
        raise HostDaemonAbsentError(f"cannot tell: {error}") from None
    if not _alive(status.header):
        raise HostDaemonAbsentError(f"not running: process {status.header.supervisor_pid} of {path} is gone")
    return status


def copy_status(board: Reader) -> Status:
    """The scoreboard as it is now, each worker's parts of one piece."""
    workers = tuple(
        WorkerStatus(
            index=index,
            state=row.state,
            pressure=row.pressure,
            words=_words(row),
            last_exit_status=row.get_signed(Word.LAST_EXIT_STATUS),
            published=row.published(),
            figures=board.figures(index),
        )
        for index, row in enumerate(board.rows)
    )
    admin = AdminStatus(board.admin.state, _words(board.admin))
    return Status(board.header(), workers, admin, (*board.topics, NOT_CONFIGURED))


def _words(row: Row) -> dict[Word, int]:
    return {word: row.get(word) for word in Word if word < Word.SEQLOCK}


def _alive(header: Header) -> bool:
    """Whether the supervisor still runs; a process of another start, or boot, has only inherited its number."""
    if header.boot_id != scoreboard.boot_id():
        return False
    found = scoreboard.start_ticks(header.supervisor_pid)
    return found == header.supervisor_start_ticks if found else _is_hidden(header.supervisor_pid)


def _is_hidden(pid: int) -> bool:
    """Whether a process that is not to be seen is there all the same: some hosts hide those of other users."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return False
