"""``ingestd``: picks the command and turns its end into an exit status.

A command is a module with ``add_arguments(parser)`` and ``execute(arguments) -> int``; only the chosen one is imported,
so that ``ingestd send`` does not pay for the demo.
"""

import argparse
import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Final

from ingestd import __version__, log
from ingestd.cli import output
from ingestd.errors import ConfigurationError, ExitStatus, IngestdError

COMMANDS: Final = {
    "run": "the daemon, in the foreground",
    "check": "read a configuration and list every fault in it",
    "send": "ship lines from files or stdin to a daemon",
    "demo": "a whole pipeline on this machine with an embedded mock cluster",
    "status": "what the daemon is doing now",
    "top": "the same again and again, with rates",
    "dead-letter": "list, show or replay what finally failed",
}
_EPILOGUE: Final = """exit status: 0 done, 1 failed while running, 2 wrong command line, 65 data loss suspected,
70 fault of ingestd itself, 75 cannot start now, or the daemon is not there, has gone or has not answered in time,
78 bad configuration"""

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command: ``arguments`` without the program's name; returns the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parsed = _parser(words).parse_args(words)
    os.environ.update(log.to_environment(parsed.log_level, parsed.log_format))
    log.configure(parsed.command, parsed.log_level, parsed.log_format)
    try:
        with output.flushed():
            return int(_module(parsed.command).execute(parsed))
    except ConfigurationError as error:
        for fault in error.faults:
            print(fault, file=sys.stderr)
        print(f"{log.counted(len(error.faults), 'fault')} found", file=sys.stderr)
        return error.exit_status
    except IngestdError as error:
        logger.error("%s", error)
        return error.exit_status
    except BrokenPipeError:
        # Whoever read our output has gone.
        return ExitStatus.FAILED
    except KeyboardInterrupt:
        _end_by(signal.SIGINT)
        return ExitStatus.FAILED
    except Exception:
        logger.critical("a fault of ingestd itself", exc_info=True)
        return ExitStatus.SOFTWARE


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"ingestd.cli.{command.replace('-', '_')}")


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The grammar; of the commands, only what ``words`` mention has its arguments filled in."""
    parser = argparse.ArgumentParser(
        prog="ingestd",
        description="Hands a host's records to Apache Kafka, exactly once and in order.",
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ingestd {__version__}")
    _add_log_arguments(parser, suppressed=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.add_argument("--version", action="version", version=f"ingestd {__version__}")
        _add_log_arguments(command, suppressed=True)
        if name in words:
            _module(name).add_arguments(command)
    return parser


def _add_log_arguments(parser: argparse.ArgumentParser, *, suppressed: bool) -> None:
    """``suppressed``: before and behind the command's name both count, and the latter does not undo the former."""
    level = os.environ.get(log.LEVEL_VARIABLE, "info")
    log_format = os.environ.get(log.FORMAT_VARIABLE, "text")
    parser.add_argument(
        "--log-level",
        choices=log.LEVELS,
        default=argparse.SUPPRESS if suppressed else level if level in log.LEVELS else "info",
        help=f"what is logged to stderr (default: {log.LEVEL_VARIABLE}, else info)",
    )
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        default=argparse.SUPPRESS if suppressed else log_format if log_format in ("text", "json") else "text",
        help=f"one event a line, as text or as JSON (default: {log.FORMAT_VARIABLE}, else text)",
    )


def _end_by(number: signal.Signals) -> None:
    """Ends as one who was interrupted should: a shell loop around us then stops as well."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    sys.exit(main())
