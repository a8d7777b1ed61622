"""``ingestd demo``: a whole pipeline on this machine with an embedded mock cluster.

A real daemon is started below a temporary folder; records go in over a Unix stream (frames, answered), a Unix datagram
socket (raw) and UDP (lines); an independent client reads them back and compares byte by byte. The mock cluster checks
neither checksums nor duplicates of idempotent producers: the tests with a real Kafka do that.
"""

import argparse
import signal
import tempfile
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from ingestd.errors import OperatorError

RECORDS: Final = 300_000
RECORDS_MAX: Final = 2_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--records", metavar="N", type=_records, default=RECORDS, help=f"records in all (default: {RECORDS})"
    )


def _records(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 10 <= int(text) <= RECORDS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 10 to {RECORDS_MAX}")
    return int(text)


def execute(arguments: argparse.Namespace) -> int:
    """0 only if every record that was sent was delivered, once, byte for byte."""
    try:
        from ingestd.cli.demo_pipeline import run
    except ImportError as missing:
        raise OperatorError(
            f"the demo needs {missing.name}: type make demo, or pip install '.[demo]', in the source folder"
        ) from missing
    signal.signal(signal.SIGTERM, _terminate)
    with tempfile.TemporaryDirectory(prefix="ingestd-demo-") as folder:
        return run(Path(folder), arguments.records)


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    """Leaves by an exception, so that daemon and folder are cleared away."""
    raise KeyboardInterrupt
