"""``ingestd run``: the daemon, in the foreground; what systemd and containers start."""

import argparse

from ingestd import config, log
from ingestd.cli.common import add_configuration
from ingestd.supervisor import supervisor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_configuration(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Runs until told to stop; the exit status is the supervisor's."""
    log.configure("supervisor", arguments.log_level, arguments.log_format)
    return supervisor.run(config.load(arguments.config))
