"""Limits for core dumps are set, and inherited by what is started afterwards."""

import subprocess
import sys

PROGRAM = """
import pathlib, subprocess, sys
from ingestd.supervisor import dumps
dumps.forbid()
sys.exit(subprocess.run([sys.executable, "-c", sys.argv[1]]).returncode)
"""
CHILD = """
import pathlib, resource
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
assert int(pathlib.Path("/proc/self/coredump_filter").read_text(), 16) == 0
"""


def test_no_memory_goes_into_a_dump_of_this_process_or_its_children() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM, CHILD], check=True)
