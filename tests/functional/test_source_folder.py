"""Python started in a folder of sources whose record path was never compiled says so, and what to do."""

import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "ingestd"


def test_what_is_not_compiled_is_said_with_its_cure(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "ingestd", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    tried = subprocess.run(
        [sys.executable, "-c", "from ingestd.producer import Producer"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    said = tried.stderr.splitlines()[-1]
    assert tried.returncode == 1
    assert said.startswith("ImportError: ingestd's record path is not compiled for Python 3.")
    assert str(tmp_path) in said
    assert "make build" in said
