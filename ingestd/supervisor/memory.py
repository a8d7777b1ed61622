"""How much memory is gone: the host's by psutil, our control group's by its files."""

from pathlib import Path
from typing import Final

import psutil

from ingestd.supervisor.pressure import memory_level

_GROUPS: Final = Path("/sys/fs/cgroup")
_COUNTED: Final = ("anon", "shmem", "kernel_stack", "pagetables", "slab_unreclaimable")
"""What the kernel cannot take back by dropping page cache (an arena on disk is page cache)."""


def parse_group(maximum: str, statistics: str) -> tuple[int, int]:
    """(limit in bytes or 0, bytes in use that cannot be reclaimed) from the texts of memory.max and memory.stat."""
    if not maximum.strip().isdigit():
        return 0, 0
    used = 0
    for line in statistics.splitlines():
        name, _, value = line.partition(" ")
        if name in _COUNTED:
            used += int(value)
    return int(maximum), used


class MemoryGauge:
    """Reads the memory level (0..1); finds its control group once."""

    def __init__(self) -> None:
        self._group = _own_group()

    def level(self) -> float:
        host = psutil.virtual_memory()
        limit_bytes = used_bytes = 0
        if self._group is not None:
            try:
                limit_bytes, used_bytes = parse_group(
                    (self._group / "memory.max").read_text(), (self._group / "memory.stat").read_text()
                )
            except OSError:
                self._group = None
        return memory_level(host.available, host.total, limit_bytes, used_bytes)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 once it is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _own_group() -> Path | None:
    """The directory of our control group (version 2) if it has a memory controller."""
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                group = _GROUPS / line[3:].lstrip("/")
                return group if (group / "memory.max").exists() else None
    except OSError:
        pass
    return None
