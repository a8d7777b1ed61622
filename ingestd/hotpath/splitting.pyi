"""Makes two batches of one that is too large for the broker. Not on the way to Kafka: decoding it is Python."""

from collections.abc import Callable

from ingestd.hotpath.arena import Arena, Batch

def split(
    arena: Arena, entry: int, flags: int, decompress: Callable[[int, bytes], bytes] | None = None
) -> tuple[Batch, Batch]:
    """One SEALED or STAMPED batch becomes two SEALED ones of about the same size, uncompressed, as one change.

    The first keeps the entry, the second follows it at once in the order of their partition; provenance goes along.
    ``flags``: of the stamp that both will have (``item.FLAG_*``); snapshots show it until then.
    ArenaFull: no pages or no entry for it now; ValueError: it has one record only.
    """
