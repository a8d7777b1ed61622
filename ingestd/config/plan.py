"""What the supervisor tells a worker at its birth: JSON in a memfd whose number is on the worker's command line."""

from typing import Literal

from msgspec import Struct

from ingestd.config.model import Config


class PlanSocket(Struct, frozen=True, forbid_unknown_fields=True):
    """A socket that the worker inherits: ``fd`` is its number there, ``listener`` the index in ``config.listeners``.

    ``shared``: a listening Unix stream socket that all workers accept on; ``own``: the one that only this worker
    accepts on; ``datagram``: a Unix datagram or UDP socket that only this worker reads. ``path`` is what it is bound
    to (empty for UDP).
    """

    listener: int
    role: Literal["shared", "own", "datagram"]
    fd: int
    path: str = ""


class WorkerPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """``arena_path`` empty: an arena without a file. ``adopt``: other arena files that this worker drains.

    ``own_paths``: the own path of every worker, by index; of the first stream listener with format frames, else empty.
    """

    index: int
    workers: int
    config: Config
    arena_path: str
    adopt: tuple[str, ...]
    scoreboard_path: str
    supervisor_pid: int
    sockets: tuple[PlanSocket, ...]
    own_paths: tuple[str, ...]
