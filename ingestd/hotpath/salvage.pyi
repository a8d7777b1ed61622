"""What can still be read of an arena that is given up: its books, topics and sessions, without opening it."""

from collections.abc import Sequence
from os import PathLike

from ingestd.hotpath.arena import Arena
from ingestd.hotpath.snapshots import Salvaged

def salvage(path: str | PathLike[str], like: Arena | None = None) -> Salvaged | None:
    """What can be read of the arena in ``path``, or None. The file may hold anything, and is not changed.

    Where its header is lost, but it is as large as ``like``, it is taken to be laid out as that. A published intent
    counts as applied. OSError: there is no such file, or it may not be read.
    """

def books_closed(found: Sequence[int], buffered_records: int, dropped_word: int) -> tuple[list[int], int]:
    """(ledger words, records) after everything that was still in the arena is booked in ``dropped_word``.

    Counters that contradict each other are no books: what the directory holds is then all that was ever taken in.
    """
