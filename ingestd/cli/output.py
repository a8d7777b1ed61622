"""Where commands print to: the standard output, whose failures must not be taken for failures of anything else."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any, TextIO, cast

from ingestd.errors import OperatorError


@contextmanager
def flushed() -> Iterator[None]:
    """Makes ``sys.stdout`` an Output, and leaves nothing unwritten in it."""
    # Closed by who started us, it is None: nothing is printed then, and its number is not left to a socket.
    with (
        Path(os.devnull).open("w") if sys.stdout is None else nullcontext(sys.stdout) as stream,
        redirect_stdout(cast(TextIO, Output(stream))),
    ):
        yield
        sys.stdout.flush()


class Output:
    """``stream``; what cannot be written to it is an OperatorError, or a BrokenPipeError where nobody reads any more.

    An OSError would say nothing of where it comes from: to a command that reads files it would be one of theirs.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise self._given_up(error) from None

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise self._given_up(error) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _given_up(self, error: OSError) -> Exception:
        # A second failure while the interpreter flushes would only add noise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        return error if isinstance(error, BrokenPipeError) else OperatorError(f"cannot write: {error.strerror}")
