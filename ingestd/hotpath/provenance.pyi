"""Answers to senders, made from the provenance of a batch: complete frames of the native protocol, per session, per
batch; and which records of a session are still in the arena.
"""

from collections.abc import Iterable

from ingestd.hotpath.arena import Arena

FRAME_DELIVERED: int
FRAME_FAILED: int

def delivered_frames(
    arena: Arena, entry: int, topic_name: bytes, base_offset: int, log_append_time_ms: int
) -> list[tuple[int, bytes]]:
    """(session row, DELIVERED frame) per session with records in the batch. To be called before ``Arena.done``."""

def failed_frames(
    arena: Arena,
    entry: int,
    topic_name: bytes,
    reason: int,
    error_code: int,
    may_have_been_written: bool,
    text: bytes,
    indexes: Iterable[int] | None = None,
) -> list[tuple[int, bytes]]:
    """(session row, FAILED frame) per session with records in the batch, or among those at ``indexes``.

    To be called before ``Arena.fail`` or ``Arena.repair``.
    """

class SessionScan:
    """Finds the records of a session in one arena, which must stay open.

    Keeps, per batch that takes no more records, which sessions it may hold: a batch without the session is passed over
    the next time.
    """

    def __init__(self, arena: Arena) -> None: ...
    def find(self, row: int) -> tuple[list[int], list[tuple[int, int]]]:
        """(entries, stretches) of what waits for its outcome at level "delivered".

        The batches with committed records of that session row, open ones included, in the order of their opening; and
        the sequences of those records as ranges (first, last), ascending and apart.
        """
