"""What the supervisor tells a worker at its birth: JSON in a memfd whose number is on the worker's command line.

Both sides also take from here how the paths of a listener are named.
"""

from typing import Final, Literal

from msgspec import Struct

from ingestd.config.model import Config

ADMIN_NAME: Final = "admin"
"""FileDescriptorName of the socket unit for ``admin.listen``."""


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

    ``status_fd``: a pipe to the supervisor; one line of text each for ``opening PATH``, ``ready`` and ``fault TEXT``.
    """

    index: int
    workers: int
    config: Config
    arena_path: str
    adopt: tuple[str, ...]
    scoreboard_path: str
    supervisor_pid: int
    status_fd: int
    sockets: tuple[PlanSocket, ...]


def own_path(path: str, worker: int) -> str:
    """The path of a Unix stream listener that only ``worker`` accepts on; ``path`` is the shared one."""
    return f"{path}.{worker}"


def shard_path(path: str, shard: int, shards: int) -> str:
    """The path of one shard of a Unix datagram listener: ``path`` itself where there is only one."""
    return path if shards == 1 else f"{path}.{shard}"


def keeper(worker: int, workers: int) -> int:
    """Who keeps the arenas and sessions of ``worker`` when there are ``workers``: itself, or its heir."""
    return worker if worker < workers else worker % workers
