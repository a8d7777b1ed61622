"""What the documents say about files, functions, tests, states and each other is true of this tree."""

import re
from pathlib import Path

import pytest

from ingestd.supervisor.states import diagram
from tests.documents import DOCUMENTS, PAGES, ROOT

LINE_CHARACTERS_MAX = 160
DESIGN = (ROOT / "DESIGN.md").read_text()
PLACES = re.findall(r"`(?:ingestd/)?((?:[\w*]+/)*[\w*]+\.(?:pyx|pxd|py|h|json|service))(?::([\w.]+))?`", DESIGN)
TESTS = {
    name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
}


def files_named(name: str) -> list[Path]:
    """A name is relative to the root, to the package, or to the folder named before it in the same cell."""
    bases = ("", "ingestd", "ingestd/*", "ingestd/*/*")
    return [path for base in bases for path in ROOT.glob(f"{base}/{name}".lstrip("/"))]


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


def test_what_imports_a_dependency_is_named_beside_it() -> None:
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \| [^|]+ \|$", DESIGN.split("## 8. Dependencies")[1], re.M)
    named = {
        package.replace("-", "_"): re.findall(r"`([^`]+)`", places)
        for packages, places in rows
        for package in re.findall(r"[\w-]+", packages)
    }
    imports = re.compile(r"^\s*(?:from|import) (\w+)", re.M)
    used = 0
    for path in (ROOT / "ingestd").rglob("*.py"):
        place = path.relative_to(ROOT / "ingestd").as_posix()
        for module in named.keys() & set(imports.findall(path.read_text())):
            used += 1
            assert any(place.startswith(name) or path.match(name) for name in named[module]), (module, place)
    assert used > 15


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text().split("## More")[1]
    assert [page.name for page in PAGES if f"(docs/{page.name})" not in readme] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_tests_that_are_named_exist(document: Path) -> None:
    text = document.read_text()
    headings = {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in re.findall(r"(?m)^#+ (.*)$", text)}
    for link in re.findall(r"\]\(([^)]+)\)", text):
        target, _, heading = link.partition("#")
        if not target:
            assert heading in headings, link
        elif "://" not in target:
            assert (document.parent / target).exists(), link
    for name in set(re.findall(r"`(tests/[\w/]+\.py)`", text)):
        assert (ROOT / name).exists(), name
    for name in set(re.findall(r"`(test_\w+)`", text)):
        assert name in TESTS, name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_lines_of_prose_are_short(document: Path) -> None:
    """A table's row cannot be wrapped; what stands in a block is as its reader has it."""
    prose = re.sub(r"(?ms)^```.*?^```$", lambda block: "\n" * block[0].count("\n"), document.read_text())
    long = [
        f"line {number}: {len(line)} characters"
        for number, line in enumerate(prose.splitlines(), 1)
        if len(line) > LINE_CHARACTERS_MAX and not line.startswith("|")
    ]
    assert not long
