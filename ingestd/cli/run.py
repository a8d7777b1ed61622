"""``ingestd run``: the daemon, in the foreground; what systemd and containers start."""

import argparse
import logging

from ingestd import log
from ingestd.cli.common import add_configuration, configuration_files
from ingestd.config import reader
from ingestd.supervisor import supervisor

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_configuration(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Runs until told to stop; the exit status is the supervisor's."""
    log.configure("supervisor", arguments.log_level, arguments.log_format)
    loaded = reader.load(configuration_files(arguments))
    for note in loaded.notes:
        logger.warning("%s", note)
    return supervisor.run(loaded.config)
