"""Looks for a secret wherever a running daemon may have left it."""

import re
import subprocess
from pathlib import Path

from tests.kafka.daemon import COMMAND, Daemon

PROCESS_FILES = ("cmdline", "environ", "comm", "status")


def places_with(secret: str, daemon: Daemon) -> list[str]:
    """Where ``secret`` is found: the log, what processes show, every file that the daemon writes.

    The configuration itself is left out: whoever wrote it there wanted it there.
    """
    wanted = secret.encode()
    found = [str(path) for path in _files(daemon) if wanted in path.read_bytes()]
    for pid in (daemon.supervisor_pid, *daemon.worker_pids()):
        found += [f"/proc/{pid}/{name}" for name in PROCESS_FILES if wanted in Path(f"/proc/{pid}/{name}").read_bytes()]
    return found


def dumps_forbidden(daemon: Daemon) -> bool:
    """Whether neither the supervisor nor a worker can leave memory in a core dump."""
    pids = (daemon.supervisor_pid, *daemon.worker_pids())
    limits = [Path(f"/proc/{pid}/limits").read_text() for pid in pids]
    filters = [int(Path(f"/proc/{pid}/coredump_filter").read_text(), 16) for pid in pids]
    return not any(filters) and all(re.search(r"^Max core file size +0 +0 ", text, re.M) for text in limits)


def commands_with(secret: str, daemon: Daemon) -> list[str]:
    """Which commands print ``secret``."""
    wanted = secret.encode()
    found = []
    for command in (["status"], ["status", "--json"], ["check"], ["check", "--print"], ["check", "--live"]):
        outcome = subprocess.run(
            [*COMMAND, *command[:1], "-c", str(daemon.configuration), *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if wanted in outcome.stdout + outcome.stderr:
            found.append(" ".join(command))
    return found


def _files(daemon: Daemon) -> list[Path]:
    """Log, state, dead letters, scoreboard, arenas."""
    written = [path for path in daemon.state_directory.rglob("*") if path.is_file()]
    return [daemon.log, *written]
