"""What DESIGN.md says about files, functions and states is true of this tree."""

import re
from pathlib import Path

from ingestd.supervisor.states import diagram

ROOT = Path(__file__).parents[2]
DESIGN = (ROOT / "DESIGN.md").read_text()
PLACES = re.findall(r"`(?:ingestd/)?((?:[\w*]+/)*[\w*]+\.(?:pyx|pxd|py|h|json|service))(?::([\w.]+))?`", DESIGN)


def files_named(name: str) -> list[Path]:
    """A name is relative to the root, to the package, or to the folder named before it in the same cell."""
    return [path for base in ("", "ingestd", "ingestd/*") for path in ROOT.glob(f"{base}/{name}".lstrip("/"))]


def test_the_diagram_of_worker_states_is_the_table() -> None:
    assert diagram().strip() in DESIGN


def test_files_and_functions_exist() -> None:
    assert len(PLACES) > 25
    for name, function in PLACES:
        found = files_named(name)
        assert found, name
        if function:
            last = function.rsplit(".", 1)[-1]
            defined = re.compile(rf"\b(?:def|class|cdef[\w ]*) {last}\b")
            assert any(defined.search(path.read_text()) for path in found), (name, function)


def test_every_runtime_dependency_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^dependencies = \[(.*?)^\]", text, re.S | re.M)
    assert block
    for name in re.findall(r'"([\w-]+)', block.group(1)):
        assert re.search(rf"^\| .*\b{name}\b.*\|", DESIGN, re.M), name
