"""Facts of this machine, and what its processes cost."""

import os
import platform
import sys
import time
from pathlib import Path
from typing import NamedTuple

import psutil

MIB = 1 << 20


class Cost(NamedTuple):
    """What processes used between two looks: CPU seconds (user and system) and wall clock seconds."""

    cpu_s: float
    elapsed_s: float


def facts() -> dict[str, str | int | float]:
    """What a reader needs to judge a result of this run."""
    return {
        "cores": os.cpu_count() or 0,
        "processor": _processor(),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "memory_mib": psutil.virtual_memory().total // MIB,
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def cpu_seconds(*pids: int) -> float:
    """CPU time of living processes so far, all their threads, ended ones included; in nanoseconds' resolution.

    It is each process's own CPU clock (clock_getcpuclockid(3), CPUCLOCK_SCHED of the kernel's posix-timers.h); utime
    and stime of /proc are the same time, cut to clock ticks of 10 ms.
    """
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


class Meter:
    """Costs of some processes since it was made."""

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._cpu_s = cpu_seconds(*pids)
        self._started_s = time.monotonic()

    def read(self) -> Cost:
        """The costs up to now."""
        return Cost(cpu_seconds(*self._pids) - self._cpu_s, time.monotonic() - self._started_s)


def rss_bytes(pid: int) -> int:
    """Resident bytes of a process, the mapped arena included."""
    return int(psutil.Process(pid).memory_info().rss)


def descendants(pid: int) -> list[int]:
    """The processes started by ``pid`` and theirs."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]
