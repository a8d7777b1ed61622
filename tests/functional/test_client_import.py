"""The client is light: what it must not bring along when it is imported."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = {"asyncio", "concurrent.futures", "dataclasses", "inspect", "json", "logging", "msgspec", "random", "uvloop"}


def test_nothing_heavy_and_nothing_else_of_ingestd_is_imported() -> None:
    program = "import sys; before = set(sys.modules); import ingestd.client; print(*set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {program}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modules = set(done.stdout.split())
    assert not modules & HEAVY
    ours = {module for module in modules if module.split(".")[0] == "ingestd"}
    assert {module for module in ours if not module.startswith("ingestd.client")} <= {"ingestd"}
    third_party = {module.split(".")[0] for module in modules - ours} - sys.stdlib_module_names
    assert not third_party
