"""Which arena file belongs to which worker. Names only: what is in the files is the workers' business."""

import re
from collections.abc import Iterable
from typing import Final

from ingestd.config.plan import keeper

_NAME: Final = re.compile(r"worker-(\d+)(?:\.drain-\d+)?\.arena")


def arena_name(worker: int) -> str:
    """The file of a worker's writable arena."""
    return f"worker-{worker}.arena"


def assign(names: Iterable[str], workers: int, *, in_memory: bool = False) -> dict[int, tuple[str, ...]]:
    """The drain-only arenas of every worker: what was left over of its own, and those of workers that are no more.

    ``in_memory``: nobody writes to a file any more, so each worker's own is left over too.
    """
    adopted: dict[int, list[str]] = {worker: [] for worker in range(workers)}
    for name in sorted(names):
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        owner = int(match[1])
        if name == arena_name(owner) and owner < workers and not in_memory:
            continue
        adopted[keeper(owner, workers)].append(name)
    return {worker: tuple(found) for worker, found in adopted.items()}
