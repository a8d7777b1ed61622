"""Log set-up of every process: events go to stderr, one a line, as text or JSON.

Under systemd a line begins with its priority (``<4>``, sd-daemon(3)) and leaves the time to the journal. Code logs
with the standard library and hands in details as ``extra={"broker": 3}``; they appear as ``broker=3`` or as members of
the JSON object. What came from outside never reaches a line unescaped or at any length, and an event that repeats
itself without end is held back and counted.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from traceback import extract_tb
from types import TracebackType
from typing import Final, TextIO

LEVELS: Final = ("debug", "info", "warning", "error")
LEVEL_VARIABLE: Final = "INGESTD_LOG_LEVEL"
FORMAT_VARIABLE: Final = "INGESTD_LOG_FORMAT"
VALUE_CHARACTERS_MAX: Final = 300
REPEATS_MAX: Final = 20
REPEATS_INTERVAL_SECONDS: Final = 10.0

_PRIORITIES: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_STANDARD_ATTRIBUTES: Final = frozenset(
    {*vars(logging.LogRecord("", 0, "", 0, "", None, None)), "message", "asctime", "taskName", "suppressed"}
)
_ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def printable(value: object, characters_max: int = VALUE_CHARACTERS_MAX) -> str:
    """``value`` as text without control characters, cut to a length: safe for a terminal and for one line."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes | bytearray) else str(value)
    cut = text[:characters_max]
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
    return cut if len(text) <= characters_max else f"{cut}… ({len(text)} characters)"


def counted(count: int, noun: str, plural: str = "") -> str:
    """``1 record``, ``2 records``; ``plural`` where an s does not make it."""
    return f"{count} {noun}" if count == 1 else f"{count} {plural or noun + 's'}"


def _details(record: logging.LogRecord) -> dict[str, object]:
    details = {key: value for key, value in vars(record).items() if key not in _STANDARD_ATTRIBUTES}
    suppressed = getattr(record, "suppressed", 0)
    if suppressed:
        details["suppressed"] = suppressed
    return details


def _where(error: _ExceptionInfo) -> str:
    """An exception in one line, innermost frame first."""
    frames = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(extract_tb(error[2]))]
    return f"{error[0].__name__}: {printable(error[1])} [{' < '.join(frames)}]"


class TextFormatter(logging.Formatter):
    """``2026-01-02T03:04:05.678Z WARNING worker-0 listeners.stream: message key=value``."""

    def __init__(self, process: str, *, systemd: bool) -> None:
        super().__init__()
        self._process = process
        self._systemd = systemd

    def format(self, record: logging.LogRecord) -> str:
        parts = [f"{self._process} {record.name.removeprefix('ingestd.')}: {printable(record.getMessage(), 2000)}"]
        for key, value in _details(record).items():
            text = printable(value)
            parts.append(
                f"{key}={text}" if text and " " not in text and '"' not in text else f"{key}={json.dumps(text)}"
            )
        if record.exc_info and record.exc_info[0] is not None:
            parts.append(_where(record.exc_info))
        line = " ".join(parts)
        if self._systemd:
            return f"<{_PRIORITIES.get(record.levelno, 6)}>{line}"
        return f"{_timestamp(record)} {record.levelname} {line}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, process, logger, message, and the event's details."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        members: dict[str, object] = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": printable(record.getMessage(), 2000),
        }
        for key, value in _details(record).items():
            members[key] = value if isinstance(value, bool | int | float) or value is None else printable(value)
        if record.exc_info and record.exc_info[0] is not None:
            members["exception"] = _where(record.exc_info)
        return json.dumps(members, ensure_ascii=False)


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class RepeatFilter(logging.Filter):
    """Lets ``REPEATS_MAX`` events of a kind pass per interval; the first one of the next tells how many were not."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = (record.name, str(record.msg))
        started, count = self._kinds.get(kind, (record.created, 0))
        if abs(record.created - started) >= REPEATS_INTERVAL_SECONDS:
            record.suppressed = max(0, count - REPEATS_MAX)
            started, count = record.created, 0
        if len(self._kinds) > 1000:
            self._kinds.clear()
        self._kinds[kind] = (started, count + 1)
        return count < REPEATS_MAX


def under_systemd(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether ``stream`` is the journal's own (JOURNAL_STREAM names its device and inode)."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def configure(process: str, level: str = "info", log_format: str = "text", *, stream: TextIO | None = None) -> None:
    """Sets up logging of this process, once; ``process`` names it in every line ("supervisor", "worker-0")."""
    target = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(target)
    if log_format == "json":
        handler.setFormatter(JsonFormatter(process))
    else:
        handler.setFormatter(TextFormatter(process, systemd=under_systemd(target, os.environ)))
    handler.addFilter(RepeatFilter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)


def configure_from_environment(process: str) -> None:
    """As :func:`configure` with what the parent was told: how a worker logs like its supervisor."""
    level = os.environ.get(LEVEL_VARIABLE, "info")
    configure(process, level if level in LEVELS else "info", os.environ.get(FORMAT_VARIABLE, "text"))


def to_environment(level: str, log_format: str) -> dict[str, str]:
    """What a parent sets for its children's :func:`configure_from_environment`."""
    return {LEVEL_VARIABLE: level, FORMAT_VARIABLE: log_format}
