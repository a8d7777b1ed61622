"""Facts of this machine, and what its processes cost."""

import os
import platform
import sysconfig
import time
from pathlib import Path
from typing import NamedTuple, Self

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
        "python_build": "optimised" if "--enable-optimizations" in _build_options() else "plain",
        "load_before": round(os.getloadavg()[0], 2),
    }


def _build_options() -> str:
    """How this Python was configured; one without profile-guided optimisation is slower."""
    return str(sysconfig.get_config_var("CONFIG_ARGS"))


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


class Cores:
    """As long as the block lasts, the last core is for what is measured and the others for all that is started here.

    Otherwise the scheduler decides, differently in every run, whether relay or worker share a core with their peers,
    and what waking those costs. Does nothing on a single core.
    """

    def __enter__(self) -> Self:
        self._all = sorted(os.sched_getaffinity(0))
        if len(self._all) > 1:
            os.sched_setaffinity(0, self._all[:-1])
        return self

    def __exit__(self, *_: object) -> None:
        os.sched_setaffinity(0, self._all)

    def measured(self, pid: int) -> None:
        """Gives ``pid``, all its threads, the core of its own."""
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), self._all[-1:])


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
