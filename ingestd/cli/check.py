"""``ingestd check``: reads a configuration, lists every fault with key, value and cure, tells what it takes."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ingestd.admin.text import bytes_text
from ingestd.cli.common import add_configuration, configuration_files
from ingestd.config import reader
from ingestd.config.documents import files_of
from ingestd.config.model import Config
from ingestd.config.partitioner import CHOICES, configs_of
from ingestd.config.render import to_toml
from ingestd.errors import ExitStatus
from ingestd.log import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_configuration(parser)
    parser.add_argument(
        "--print",
        action="store_true",
        help="print what is in force and where it comes from, defaults included, secrets masked",
    )
    parser.add_argument(
        "--live", action="store_true", help="ask the cluster too: what will become of records (1: some will fail)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Faults end it with 78 (the caller prints them); 0: the configuration is good, and so is the cluster, if asked.

    With ``--live`` 1: records will be refused, lost or doubled; 75: no bootstrap server can be reached.
    """
    files = configuration_files(arguments)
    loaded = reader.load(files)
    load_partitioners(loaded.config)
    if arguments.print:
        print(to_toml(loaded.config, loaded.sources).rstrip())
    elif not arguments.live:
        print(summary(loaded.config, files_of(files)))
    for note in loaded.notes:
        # what is printed can be read again
        print(f"{'# ' if arguments.print else ''}note: {note}")
    if not arguments.live:
        return ExitStatus.DONE
    if arguments.print or loaded.notes:
        print()
    return _check_live(loaded.config)


def _check_live(config: Config) -> int:
    """Asks the cluster, and prints what it is like and what will become of records."""
    # kio's modules take their time: only who asks pays for them.
    from ingestd.live.ask import ask
    from ingestd.live.judge import judge
    from ingestd.live.report import report
    from ingestd.live.view import Weight

    view = ask(config)
    findings = judge(config, view)
    print(report(config, view, findings))
    if not view.reachable:
        return ExitStatus.CANNOT_START_NOW
    fails = any(finding.weight is Weight.FAILS for finding in findings)
    return ExitStatus.FAILED if fails else ExitStatus.DONE


def load_partitioners(checked: Config) -> None:
    """Those written in Python, as the workers will. ConfigurationError: one cannot be used."""
    named = {checked.topic_settings(topic).partitioning.partitioner_class for topic in checked.topics}
    for name in sorted(named - set(CHOICES)):
        # Here and not above: it brings the compiled record path along.
        from ingestd.partitioner import load

        load(name, configs_of(checked.producer)).close()


def summary(checked: Config, files: Sequence[Path]) -> str:
    """What the configuration in ``files`` amounts to, in a few lines."""
    daemon, buffer_bytes = checked.daemon, checked.producer.buffer_memory
    lines = [f"{', '.join(map(str, files))}: no faults"]
    for listener in checked.listeners:
        topics = listener.topic or ", ".join(listener.topics)
        lines.append(f"  {listener.name}: {listener.address} {listener.format} -> {topics}")
    place = "in memory" if daemon.durability == "memory" else f"in {daemon.arena_directory}"
    total = bytes_text(daemon.workers * buffer_bytes)
    lines.append(f"buffer: {counted(daemon.workers, 'worker')} x {bytes_text(buffer_bytes)} = {total} {place}")
    return "\n".join(lines)
