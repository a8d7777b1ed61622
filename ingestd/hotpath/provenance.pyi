"""Answers to senders, made from the provenance of a batch: complete frames of the native protocol, per session, per
batch.
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
