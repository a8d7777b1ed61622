"""``ingestd dead-letter``: what finally failed: lists it, shows it, and sends it again through the daemon."""

import argparse
import json
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec.structs import asdict

from ingestd import letters
from ingestd.admin.text import table
from ingestd.cli.common import add_configuration, configuration_files
from ingestd.cli.dead_letter_replay import Replay, answering_argument
from ingestd.client.address import Address
from ingestd.config import reader
from ingestd.errors import ConfigurationError, ExitStatus, Fault, HostError, OperatorError
from ingestd.letters import Letter
from ingestd.log import counted, printable
from ingestd.metrics import Failed

BYTES_SHOWN_MAX: Final = 200


class Kept(NamedTuple):
    """A letter as it is found in the files. ``open``: its record was neither delivered since nor failed once more."""

    day: str
    letter: Letter
    open: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    texts = {
        "list": "how many letters there are, by day, topic and reason",
        "show": "letters whole",
        "replay": "send the records of open letters to the daemon once more, and note which were delivered",
    }
    for name, text in texts.items():
        action = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        _add_filters(action)
        if name == "replay":
            _add_replay(action)
        else:
            action.add_argument("--all", action="store_true", help="also those that were replayed")
            action.add_argument("--json", action="store_true", help="for machines: one object a line")


def _add_filters(action: argparse.ArgumentParser) -> None:
    add_configuration(action)
    action.add_argument("--directory", metavar="DIR", type=Path, help="default: state.directory of the configuration")
    action.add_argument(
        "--day", metavar="YYYYMMDD", type=_day_argument, help="the day (UTC) on which the records failed"
    )
    action.add_argument("--topic", metavar="TOPIC")
    action.add_argument("--reason", choices=[reason.name.lower() for reason in Failed])
    action.add_argument("--listener", metavar="NAME")
    action.add_argument("ids", metavar="ID", nargs="*", help="only the letters with these ids (default: all)")


def _day_argument(text: str) -> str:
    if len(text) != 8 or not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is no day: write 20260131 for the 31st of January 2026")
    return text


def _add_replay(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--to",
        metavar="ADDRESS",
        type=answering_argument,
        help="unix-stream:PATH of a listener with the format frames (default: the configuration's first one)",
    )
    action.add_argument(
        "--maybe", action="store_true", help="also records that may have been written: they may then be there twice"
    )
    action.add_argument(
        "--keep-partition", action="store_true", help="to the partition they were meant for, not the one of their key"
    )


def execute(arguments: argparse.Namespace) -> int:
    """0: done; 1: some letters of a replay stay open, or one that is to be shown is not there; 75: it cannot go on (no
    daemon, another replay, marks that cannot be written); 78: bad configuration."""
    files = configuration_files(arguments)
    # Who looks at letters need not be allowed to read the daemon's secrets, nor have its environment.
    directory = arguments.directory or Path(reader.load_daemon(files).state_directory)
    if not directory.is_dir():
        raise OperatorError(f"{directory} is no directory: give the state directory with --directory")
    try:
        if arguments.action == "replay":
            return _replay(arguments, directory, arguments.to or _frames_listener(files))
        found = _found(directory, arguments, open_only=not arguments.all)
        if arguments.action == "show":
            return _show(found, arguments.ids, as_json=arguments.json)
        _list(found, as_json=arguments.json)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise HostError(f"cannot read the dead letters in {directory}: {error.strerror or error}") from error
    return ExitStatus.DONE


def _found(directory: Path, arguments: argparse.Namespace, *, open_only: bool) -> Iterator[Kept]:
    """The letters that the arguments ask for, in the order of their writing. Damaged lines are told on stderr."""
    ids = frozenset(arguments.ids)
    damaged: Counter[str] = Counter()
    for day in letters.days(directory):
        if arguments.day not in (None, day):
            continue
        closed = letters.replayed(directory, day)
        for letter in letters.read_day(directory, day):
            if letter is None:
                damaged[day] += 1
            elif _wanted(letter, arguments, ids) and not (open_only and letter.id in closed):
                yield Kept(day, letter, letter.id not in closed)
    for day, count in damaged.items():
        path = letters.file_of(directory, day)
        print(f"ingestd dead-letter: {counted(count, 'damaged line')} in {path}, passed over", file=sys.stderr)


def _wanted(letter: Letter, arguments: argparse.Namespace, ids: frozenset[str]) -> bool:
    return (
        arguments.topic in (None, letter.topic)
        and arguments.reason in (None, letter.reason)
        and arguments.listener in (None, letter.listener)
        and (not ids or letter.id in ids)
    )


def _list(found: Iterable[Kept], *, as_json: bool) -> None:
    counts: Counter[tuple[str, str, str, str]] = Counter()
    still_open: Counter[tuple[str, str, str, str]] = Counter()
    for day, letter, is_open in found:
        place = (day, letter.topic, letter.reason, letter.kafka_error)
        counts[place] += 1
        still_open[place] += is_open
    names = ("day", "topic", "reason", "kafka_error")
    if as_json:
        for place, count in sorted(counts.items()):
            print(json.dumps({**dict(zip(names, place, strict=True)), "letters": count, "open": still_open[place]}))
        return
    head: tuple[str, ...] = ("day", "topic", "reason", "Kafka's error", "letters", "open")
    rows = [
        (place[0], printable(place[1]), place[2], place[3] or "-", str(count), str(still_open[place]))
        for place, count in sorted(counts.items())
    ]
    print(table([head, *rows]) if rows else "no dead letters")


def _show(found: Iterable[Kept], ids: Sequence[str], *, as_json: bool) -> int:
    shown = set()
    for day, letter, is_open in found:
        shown.add(letter.id)
        print(json.dumps(_entry(day, letter, is_open)) if as_json else _page(letter, is_open))
    missing = [each for each in dict.fromkeys(ids) if each not in shown]
    for each in missing:
        told = f"no open letter has the id {printable(each)} (--all shows replayed ones, too)"
        print(f"ingestd dead-letter: {told}", file=sys.stderr)
    if not shown and not ids and not as_json:
        print("no dead letters")
    return ExitStatus.FAILED if missing else ExitStatus.DONE


def _entry(day: str, letter: Letter, is_open: bool) -> dict[str, Any]:
    """As it stands in its file: bytes in base64."""
    entry = asdict(letter)
    entry["key"], entry["value"] = _base64(letter.key), _base64(letter.value)
    entry["headers"] = [[name, _base64(value)] for name, value in letter.headers]
    return {"day": day, **entry, "open": is_open}


def _base64(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode("ascii")


def _page(letter: Letter, is_open: bool) -> str:
    lines = [
        f"{letter.id}  {_time(letter.time_ms)}  {printable(letter.topic)}-{letter.partition}"
        f"  {letter.reason}{'' if is_open else '  (replayed)'}",
        f"  error      {letter.kafka_error or 'none of Kafka'}{': ' if letter.text else ''}{printable(letter.text)}",
        f"  written?   {'perhaps' if letter.may_have_been_written else 'no'}; attempts: {letter.attempts}",
        f"  sender     {printable(letter.sender)} by {printable(letter.listener)}"
        + (f", sequence {letter.sequence}" if letter.sequence else ""),
        f"  accepted   {_time(letter.accepted_ms)}, first sent {_time(letter.first_send_ms)}",
        f"  timestamp  {_time(letter.timestamp_ms)}",
        f"  key        {_shown(letter.key)}",
        f"  value      {_shown(letter.value)}",
        *(f"  header     {printable(name)} = {_shown(value)}" for name, value in letter.headers),
    ]
    return "\n".join(lines)


def _time(time_ms: int) -> str:
    if time_ms <= 0:
        return "never"
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        # a record's own time may be anything; microseconds for milliseconds is what most brokers refuse
        return f"{time_ms} ms, beyond the year 9999"


def _shown(value: bytes | None) -> str:
    """Escaped, so that nothing in it reaches the terminal as a command."""
    if value is None:
        return "none"
    more = "" if len(value) <= BYTES_SHOWN_MAX else f" ... ({len(value)} bytes; --json shows all)"
    return repr(value[:BYTES_SHOWN_MAX])[1:] + more


def _replay(arguments: argparse.Namespace, directory: Path, address: Address) -> int:
    replay = Replay(directory, address, maybe=arguments.maybe, keep_partition=arguments.keep_partition)
    try:
        replay.run((kept.day, kept.letter) for kept in _found(directory, arguments, open_only=True))
    except HostError:
        if replay.has_sums:
            replay.end()
        raise
    return replay.end()


def _frames_listener(files: list[Path]) -> Address:
    try:
        listeners = reader.load(files).config.listeners
    except ConfigurationError as error:
        error.faults.append(Fault("--to", "", "not given, and the configuration cannot be read in full", "Give it"))
        raise
    for listener in listeners:
        if listener.format == "frames" and listener.address.kind == "unix-stream":
            return listener.address
    raise OperatorError("no listener of the configuration has the format frames on a unix-stream: give --to")
