"""The pipe to the supervisor: one line for what the worker is at, until it is ready."""

import contextlib
import os


class StatusPipe:
    """Writing end; a supervisor that is gone is no reason to fail here (the kernel ends us then)."""

    def __init__(self, file_descriptor: int) -> None:
        self._fd = file_descriptor
        if file_descriptor >= 0:
            os.set_inheritable(file_descriptor, False)

    def _write(self, line: str) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.write(self._fd, line.encode("utf-8", "surrogateescape") + b"\n")

    def opening(self, path: str) -> None:
        """From here on a crash is blamed on the arena in ``path``."""
        self._write(f"opening {path}")

    def ready(self) -> None:
        """All arenas and sockets are open; nothing more will be written."""
        self._write("ready")
        self.close()

    def fault(self, text: str) -> None:
        """Why the worker ends, for the supervisor's last line."""
        self._write("fault " + " ".join(text.split()))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
