"""Stops a process after each instruction that stores into an arena's file, by single-stepping it, and hands out what it
would have left.
"""

import functools
import mmap
import os
import platform
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from ingestd.hotpath.arena import Arena
from tests.model.build_driver import load


@functools.cache
def refusal(*, far: bool = False) -> str:
    """Why no process can be stepped on this machine, or none that goes ``far`` between its stores; "" where it can."""
    if far and platform.machine() != "x86_64":
        return f"stepping.h knows how to run from store to store on x86-64, not on {platform.machine()}"
    driver = load()
    child = os.fork()
    if child == 0:
        try:
            driver.trace()
            os.kill(os.getpid(), signal.SIGSTOP)
        except OSError as error:
            os._exit(error.errno or 255)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSTOPPED(status):
        number = os.waitstatus_to_exitcode(status)
        return (
            f"ptrace(PTRACE_TRACEME): {os.strerror(number)}; a container needs a seccomp profile that allows ptrace "
            "(or --cap-add SYS_PTRACE)"
        )
    stepped = driver.steps(child)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "" if stepped else "ptrace(PTRACE_SINGLESTEP) does not work here (an emulated processor?)"


def images_of_crashes(path: Path, operation: Callable[[], object], arena: Arena | None = None) -> Iterator[bytes]:
    """The file before, after each store of, and after ``operation``, which runs in a forked child that has the arena
    mapped.

    ``arena``: this process's arena of that file, if it is what the operation changes. The child's mapping of it is then
    read-only, so that it runs at its own speed up to each instruction that stores there. Without it every instruction
    is stepped.
    """
    driver = load()
    processors = os.sched_getaffinity(0)
    # One processor for both, who run in turn: waking another one costs more than all they do.
    os.sched_setaffinity(0, {max(processors)})
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as watched:
        child = os.fork()
        if child == 0:
            _run_traced(operation, arena)
        try:
            os.waitpid(child, 0)
            seen = bytearray(watched)
            yield bytes(seen)
            with memoryview(watched) as view, driver.Stops(child, view, arena) as stops:
                while stops.until_store(seen):
                    yield bytes(seen)
            yield bytes(seen)
        finally:
            os.sched_setaffinity(0, processors)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _run_traced(operation: Callable[[], object], arena: Arena | None) -> None:
    try:
        load().trace(arena)
        os.kill(os.getpid(), signal.SIGSTOP)
        operation()
        os.kill(os.getpid(), signal.SIGSTOP)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)
