"""The limits that hold for every file from the first commit; each rule is also shown a fault that it must find."""

import re
import tomllib
from pathlib import Path

import pytest

from ingestd.cli.main import COMMANDS
from tests import tidy
from tests.tidy import PACKAGE, ROOT, files

SOURCES = files(".py", ".pyx", ".pxd", under=PACKAGE)
CODE = files(".py", ".pyx", ".pxd", ".pyi", ".c", ".h")
TEXTS = files(
    ".py", ".pyx", ".pxd", ".pyi", ".c", ".h", ".md", ".toml", ".txt", ".xml", ".service", ".socket", ".conf", ".sh"
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_imports_run_one_way() -> None:
    faults = [
        fault
        for path in SOURCES
        for fault in tidy.import_faults(tidy.module_name(path), path.read_text(), path.suffix != ".py")
    ]
    assert not faults


@pytest.mark.parametrize(
    ("module", "text", "compiled"),
    [
        ("ingestd.supervisor.x", "import uvloop", False),
        ("ingestd.supervisor.x", "from ingestd.worker import main", False),
        ("ingestd.producer.x", "from ingestd import listeners", False),
        ("ingestd.hotpath.x", "from ingestd.limits import TOPIC_BYTES_MAX", True),
        ("ingestd.hotpath.x", "from ingestd.config cimport model", True),
        ("ingestd.client.x", "from ingestd.errors import IngestdError", False),
        ("ingestd.client.x", "from ingestd import __version__", False),
        ("ingestd.config.x", "from ingestd.client.frame import pack", False),
        ("ingestd.producer.x", "from ingestd.client.session import Session", False),
        ("ingestd.worker.x", "from ingestd.client.errors import KafkaException", False),
        ("ingestd.config.x", "from .model import Config", False),
        ("ingestd.producer.lanes.x", "from ingestd.producer.sender import Sender", False),
        ("ingestd.producer.network.x", "from ingestd.producer.lanes.item import Item", False),
        ("ingestd.novelty.x", "", False),
    ],
)
def test_an_import_in_the_wrong_direction_is_found(module: str, text: str, compiled: bool) -> None:
    assert tidy.import_faults(module, text, compiled)


def test_an_import_in_the_right_direction_is_none_of_our_business() -> None:
    text = "import os\nfrom ingestd import __version__\nfrom ingestd.client.address import parse\nimport ingestd.errors"
    assert tidy.import_faults("ingestd.config.x", text) == []


def test_functions_are_short() -> None:
    too_long = [
        f"{name_of(path)} {name}: {lines} lines"
        for path in files(".py", ".pyx", ".pxd")
        for name, lines in tidy.function_lengths(path.read_text())
        if lines > tidy.FUNCTION_LINES_MAX
    ]
    assert not too_long


def test_the_length_of_a_function_is_counted_to_its_last_line() -> None:
    text = "cdef int f(\n    int a,\n) noexcept nogil:\n    x = 1\n\n    # why\n    return x\n\n\n"
    text += "cdef class A(B):\n    def g(self): \n        pass\n"
    assert dict(tidy.function_lengths(text)) == {"f": 7, "g": 2}


def test_files_are_short() -> None:
    lengths = {name_of(path): path.read_text().count("\n") for path in CODE}
    assert {name: lines for name, lines in lengths.items() if lines > tidy.FILE_LINES_MAX} == {}


def test_every_module_is_used() -> None:
    used = {
        target
        for path in SOURCES
        for target in tidy.imported(path.read_text(), path.suffix != ".py")
        if path.suffix != ".pyi"
    }
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    used |= {entry.split(":")[0] for entry in scripts.values()}
    # The command line imports a command's module by its name, when that command is asked for.
    used |= {f"ingestd.cli.{command.replace('-', '_')}" for command in COMMANDS}
    modules = {tidy.module_name(path) for path in SOURCES if path.stem not in ("__init__", "__main__")}
    assert sorted(modules - used) == []


def test_nothing_is_left_for_later() -> None:
    left = [f"{name_of(path)}: {found[0]}" for path in CODE for found in tidy.MARKERS.finditer(path.read_text())]
    left += [name_of(path) for path in files(".pyx", ".py", under=PACKAGE) if "NotImplementedError" in path.read_text()]
    assert not left


def test_no_path_of_one_machine_and_no_registry_is_named() -> None:
    texts = {
        name_of(path): path.read_text()
        for path in [*TEXTS, ROOT / "Makefile", *ROOT.glob(".ci/*"), *ROOT.glob("Dockerfile")]
    }
    found = [
        f"{name}: {match[0]}"
        for name, text in texts.items()
        for pattern in (tidy.LOCAL_PATHS, tidy.REGISTRIES)
        for match in pattern.finditer(text)
    ]
    assert not found


@pytest.mark.parametrize("text", ["cd /ro" + "ot/x", '"/wo' + 'rk/main"', "x=/tm" + "p/w/v/bin"])
def test_a_path_of_one_machine_is_found(text: str) -> None:
    assert tidy.LOCAL_PATHS.search(text)


def test_the_root_holds_the_version_only() -> None:
    assert tidy.initialisation_faults((PACKAGE / "__init__.py").read_text()) == []
    assert tidy.initialisation_faults('"""Doc."""\nimport os\n__version__ = "1"') == ["line 2: import os"]


def test_unit_tests_mirror_the_package() -> None:
    strays = []
    for path in files(".py", under=ROOT / "tests/unit"):
        place = path.relative_to(ROOT / "tests/unit").parent
        # Vectors are checked per package, whatever its modules are called.
        if path.name in ("__init__.py", "conftest.py", "test_vectors.py") or path == Path(__file__):
            continue
        stem = path.stem.removeprefix("test_")
        if not any(
            (PACKAGE / place / f"{stem}{suffix}").exists() for suffix in (".py", ".pyx", ".pxd", ".h", "/__init__.py")
        ):
            strays.append(name_of(path))
    assert not strays


def test_unit_tests_open_no_sockets_and_never_sleep() -> None:
    tests = files(".py", under=ROOT / "tests/unit")
    assert [f"{name_of(path)}: {fault}" for path in tests for fault in tidy.unit_test_faults(path.read_text())] == []
    planted = "import socket, time\nsocket.socketpair()\ntime.sleep(1)\n"
    assert len(tidy.unit_test_faults(planted)) == 2


def test_locks_agree_with_each_other_and_have_hashes() -> None:
    # A package may have one version per Python version; what must not differ is the choice between two locks.
    choices: dict[str, dict[str, frozenset[str]]] = {}
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text()
        pins = re.findall(r"^([\w.-]+)==(\S+(?: ;.*?)?) \\\n    --hash=sha256:", text, re.MULTILINE)
        assert len(pins) == len(re.findall(r"^[\w.-]+[=<>~!@ ]", text, re.MULTILINE)), (
            f"{lock.name}: a pin without hash"
        )
        for name in {name for name, _ in pins}:
            versions = frozenset(pin.split(" ;")[0] for pinned, pin in pins if pinned == name)
            choices.setdefault(name, {})[lock.name] = versions
    assert choices
    assert {name: locks for name, locks in choices.items() if len(set(locks.values())) > 1} == {}
