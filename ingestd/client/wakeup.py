"""Wakeup: ends the sleep of a thread that polls."""

import os
from collections.abc import Callable


class Wakeup:
    """An eventfd. It is closed when nobody is left who could write to it: sooner, its number may be another file's.

    That needs no lock, so a signal handler may come in the middle of it.
    """

    descriptor = -1  # none was to be had

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def wake(self) -> None:
        os.eventfd_write(self.descriptor, 1)

    def clear(self) -> None:
        """To be called when poll() says that there is something to read."""
        os.eventfd_read(self.descriptor)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # at the end of the interpreter `os` is empty
        if self.descriptor >= 0:
            close(self.descriptor)
