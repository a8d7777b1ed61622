"""Starting worker processes and seeing them die. Every wait is for one known process."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Final, Self

import msgspec

from ingestd.config.plan import WorkerPlan

PYTHON: Final[tuple[str, ...]] = (sys.executable, "-P")
"""For our own processes. -P: modules are not looked for in the folder that the daemon was started in first, where a
source tree without its compiled part may lie, or anything else of a name that we import."""
WORKER_COMMAND: Final[tuple[str, ...]] = (*PYTHON, "-m", "ingestd.worker")
_STATUS_BYTES_MAX: Final = 64 << 10
"""What is read of a worker's status text at a time; a pipe holds no more."""


class PidfdChild:
    """A child process that is waited for through its pidfd, which becomes readable when it is dead.

    ``status_fd`` is the reading end of its status pipe. :meth:`poll` must be asked once the pidfd is readable.
    """

    def __init__(self, process: subprocess.Popen[bytes], status_fd: int) -> None:
        self._process = process
        self.pid = process.pid
        self.pidfd = os.pidfd_open(process.pid)
        self.status_fd = status_fd
        self.status_open = True
        self._text = b""

    @classmethod
    def spawn(cls, command: Callable[[int], Sequence[str]], descriptors: Sequence[int]) -> Self:
        """Starts what ``command`` says, given the number of the status pipe in the child, with ``descriptors`` under
        their own numbers. OSError: it could not be started, and nothing of it is left.
        """
        status_read, status_write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(status_read, False)
        try:
            process = subprocess.Popen(  # noqa: S603 (our own interpreter and module, no shell)
                command(status_write),
                stdin=subprocess.DEVNULL,
                pass_fds=(*descriptors, status_write),
                close_fds=True,
            )
        except BaseException:
            os.close(status_read)
            raise
        finally:
            os.close(status_write)
        try:
            return cls(process, status_read)
        except BaseException:
            # Nobody would ever see it die.
            process.kill()
            process.wait()
            os.close(status_read)
            raise

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to this process and to no other that may have got its pid."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def poll(self) -> int | None:
        """None while it lives; else its exit status, or minus the number of the signal that killed it."""
        return self._process.poll()

    def status_lines(self) -> list[str]:
        """Whole lines of the status pipe since the last call; at its end the unfinished one too."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.status_fd, _STATUS_BYTES_MAX):
                self._text += chunk
            self.status_open = False
        *lines, self._text = self._text.split(b"\n")
        if self._text and not self.status_open:
            lines.append(self._text)
            self._text = b""
        return [line.decode(errors="replace") for line in lines]

    def close(self) -> None:
        """Lets go of a process that was seen dead."""
        os.close(self.pidfd)
        os.close(self.status_fd)


def spawn_worker(plan: Callable[[int], WorkerPlan]) -> PidfdChild:
    """Starts a worker as a fresh interpreter; ``plan`` makes its plan, given the number of its status pipe."""
    descriptors = [entry.fd for entry in plan(-1).sockets]
    plan_fd = os.memfd_create("ingestd-plan", os.MFD_CLOEXEC)

    def command(status_fd: int) -> Sequence[str]:
        _write_all(plan_fd, msgspec.json.encode(plan(status_fd)))
        os.lseek(plan_fd, 0, os.SEEK_SET)
        return [*WORKER_COMMAND, "--plan-fd", str(plan_fd)]

    try:
        return PidfdChild.spawn(command, [*descriptors, plan_fd])
    finally:
        os.close(plan_fd)


def _write_all(file_descriptor: int, text: bytes) -> None:
    view = memoryview(text)
    while view:
        view = view[os.write(file_descriptor, view) :]
