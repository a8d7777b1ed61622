"""Stops a process after each of its stores into an arena's file, by single-stepping it, and hands out what it would
have left.
"""

import mmap
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.model.build_driver import load


def images_of_crashes(path: Path, operation: Callable[[], object]) -> Iterator[bytes]:
    """The file before, after each store of, and after ``operation``, which runs in a forked child that has the arena
    mapped.
    """
    driver = load()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as watched:
        child = os.fork()
        if child == 0:
            _run_traced(operation)
        try:
            os.waitpid(child, 0)
            seen = bytearray(watched)
            yield bytes(seen)
            with memoryview(watched) as view:
                while driver.until_store(child, view, seen):
                    yield bytes(seen)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _run_traced(operation: Callable[[], object]) -> None:
    try:
        load().trace()
        os.kill(os.getpid(), signal.SIGSTOP)
        operation()
        os.kill(os.getpid(), signal.SIGSTOP)
    finally:
        os._exit(1)
