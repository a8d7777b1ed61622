"""A worker that misbehaves as it is told: what the supervisor does about it is the test.

Its orders are in ``orders-INDEX`` in the state directory, one line per start; the last one stays in force.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from ingestd import prctl
from ingestd.config.plan import WorkerPlan
from ingestd.hotpath.arena import Arena
from ingestd.scoreboard import Writer
from ingestd.worker import __main__ as worker
from ingestd.worker import arenas
from ingestd.worker.status import StatusPipe


def next_order(plan: WorkerPlan) -> str:
    """The order for this start; notes it in ``starts-INDEX``."""
    directory = Path(plan.config.daemon.state_directory)
    orders = directory / f"orders-{plan.index}"
    lines = orders.read_text().splitlines() if orders.exists() else ["serve"]
    if len(lines) > 1:
        orders.write_text("\n".join(lines[1:]))
    with (directory / f"starts-{plan.index}").open("a") as starts:
        starts.write(f"{lines[0]} {time.monotonic_ns() // 1_000_000} {Path(plan.arena_path).exists()}\n")
    return lines[0]


class _Faulty:
    """Stands for an arena that this version cannot open, and nobody foresaw why."""

    create = Arena.create

    @staticmethod
    def open(path: str, *, now_ms: int) -> Arena:
        raise AssertionError(f"{path} at {now_ms}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--plan-fd", type=int, required=True)
    plan_fd = parser.parse_args().plan_fd
    with os.fdopen(os.dup(plan_fd), "rb") as text:
        plan = msgspec.json.decode(text.read(), type=WorkerPlan)
    os.lseek(plan_fd, 0, os.SEEK_SET)
    prctl.die_with_parent(plan.supervisor_pid)
    order = next_order(plan)
    status = StatusPipe(plan.status_fd)
    match order.split():
        case ["exit", number, *words]:
            status.fault(" ".join(words))
            return int(number)
        case ["real"]:
            return worker.main()
        case ["faulty"]:
            vars(arenas)["Arena"] = _Faulty
            return worker.main()
        case ["damaged"]:
            Path(plan.arena_path).touch()
            status.opening(plan.arena_path)
            os.kill(os.getpid(), signal.SIGSEGV)
        case ["killed"]:
            status.opening(plan.arena_path)
            os.kill(os.getpid(), signal.SIGKILL)
        case ["deaf"]:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        case ["silent"]:
            status.ready()
            signal.signal(signal.SIGABRT, signal.SIG_IGN)
            time.sleep(60)
        case ["serve", *last]:
            # What it ends with when it is told to stop: 0, or the number behind the word.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(int("".join(last) or 0)))
    status.ready()
    row = Writer.open(Path(plan.scoreboard_path)).rows[plan.index]
    while True:
        row.beat(time.monotonic_ns() // 1_000_000)
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
