"""Records of this very process, handed over as objects: into the arena, and from a batch back to their futures."""

from collections.abc import Collection

from ingestd.hotpath.arena import Arena
from ingestd.hotpath.handover import Handover, Outgoing
from ingestd.hotpath.intake import Intake

class LocalIntake:
    """The listener of this process's own records. Only the thread of the arena may use it.

    ``listener_index``: a listener that was added to ``intake``; of it only ``record_bytes_max`` and the bounds of
    timestamps count. ``handover`` is what the records came through.
    """

    blocked_reason: int
    """What the last ``append`` stopped for: ``intake.BLOCKED_BY_ARENA``; 0 if it took all, or waits for a topic."""

    def __init__(self, intake: Intake, listener_index: int, handover: Handover) -> None: ...
    def append(
        self, records: list[Outgoing], at: int, parked: list[Outgoing], now_ms: int, tick_ms: int
    ) -> tuple[int, int]:
        """Takes ``records[at:]`` into the arena, in order.

        Returns (index of the first one not taken, flags of ``hotpath.intake``). Records whose partition takes no new
        batch go to ``parked`` instead: offer them again, in their order, before any others. REJECTED: ask
        ``take_refused``.
        """
    def take_refused(self) -> list[tuple[Outgoing, int]]:
        """What the last ``append`` refused, with the reason (``metrics.Rejected``); give each to ``fail``."""
    def fail(self, records: list[Outgoing], error: Exception) -> list[Outgoing]:
        """For records that are in no batch. Returns those that somebody waits for."""
    def delivered(
        self, arena: Arena, entry: int, partition: int, base_offset: int, log_append_time_ms: int
    ) -> list[Outgoing]:
        """The batch is in the log; ``base_offset`` -1: nobody knows where. To be called before ``Arena.done``.

        Returns those of its records that somebody waits for, in their order.
        """
    def failed(
        self, arena: Arena, entry: int, error: Exception, indexes: Collection[int] | None = None
    ) -> list[Outgoing]:
        """The batch is given up, or its records at ``indexes``. To be called before ``Arena.fail`` or ``repair``.

        Returns those that somebody waits for, in their order.
        """
    def abandon(self, error: Exception) -> list[Outgoing]:
        """Everything without outcome fails. Returns those that somebody waits for."""
