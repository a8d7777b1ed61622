"""What a fresh arena takes over from one that is given up: a file set aside, or the memory of a dead process."""

import logging
import os
from pathlib import Path

from ingestd.config import arena_files
from ingestd.config.plan import WorkerPlan
from ingestd.hotpath.arena import Arena
from ingestd.hotpath.salvage import salvage
from ingestd.hotpath.snapshots import Salvaged
from ingestd.log import counted
from ingestd.metrics import Dropped, Ledger, balance
from ingestd.scoreboard import Row
from ingestd.worker.status import StatusPipe

logger = logging.getLogger(__name__)


def take_over_set_aside(own: Arena, draining: list[Arena], plan: WorkerPlan, status: StatusPipe, now_ms: int) -> None:
    """Topics, sessions and books of this worker's arenas that were set aside become ``own``'s, each once."""
    found: list[tuple[Path, Salvaged]] = []
    waiting = arena_files.waiting(Path(plan.arena_path).parent, plan.index, plan.workers)
    for path in waiting:
        # A crash in here is blamed on this file: after three it gets a name that is not looked for any more.
        status.opening(str(path))
        try:
            salvaged = salvage(path, own)
        except OSError as error:
            logger.error("cannot read %s: %s", path, error.strerror)
            continue
        if salvaged is None:
            logger.error("nothing can be read of %s: what was in it is in no books", path)
        else:
            found.append((path, salvaged))
    # An arena whose books went into another one's must not come a second time by itself.
    settled = {arena_id for arena in (own, *draining) for arena_id in arena.absorbed_ids()}
    settled.update(arena_id for _, salvaged in found for arena_id in salvaged.absorbed)
    for path, salvaged in found:
        status.opening(str(path))
        if salvaged.arena_id not in settled:
            records = own.take_over(salvaged, Dropped.SET_ASIDE, now_ms=now_ms)
            logger.error(
                "took over %s, %s and the books of %s: dropped with it %s; of them in good batches: %s",
                counted(len(salvaged.topics), "topic"),
                counted(len(salvaged.sessions), "session"),
                path.name,
                counted(records, "record"),
                "not known" if salvaged.buffered_records < 0 else salvaged.buffered_records,
            )
        try:
            arena_files.booked(path)
        except OSError as error:
            # The arena remembers whose books it has: the next start comes by here again.
            logger.error("cannot rename %s: %s", path, error.strerror)
    if waiting:
        status.opening(plan.arena_path)


def take_over_memory(own: Arena, draining: list[Arena], row: Row, now_ms: int) -> None:
    """Goes on with the books of an arena without a file, as its process last published them before it died.

    What was in it is gone with the process. The scoreboard outlives workers, not the daemon: at its start all books
    of such arenas begin anew.
    """
    published = row.published()
    words = list(published.ledger)
    for arena in draining:
        # Their books were published with the dead one's, and are still their own.
        words = [max(word - kept, 0) for word, kept in zip(words, arena.ledger_counters(), strict=True)]
    if not any(words):
        return
    if not published.consistent:
        _sum_up(words)
    gone = Salvaged(os.urandom(16), "", (), (), tuple(words), 0, ())
    records = own.take_over(gone, Dropped.MEMORY_LOST, now_ms=now_ms)
    if records:
        logger.error("lost with the memory of the process before: %s", counted(records, "record"))


def _sum_up(words: list[int]) -> None:
    """A process that died while it published left words from before a read beside some from behind it: each was right
    at its time, only their sums need not be."""
    books = balance(words, 0)
    words[Ledger.ACCEPTED] = max(books.accepted, books.delivered + books.failed + books.dropped)
    words[Ledger.RECEIVED] = words[Ledger.ACCEPTED] + books.rejected
