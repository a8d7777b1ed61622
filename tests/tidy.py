"""The rules of the house as functions from a file's text to its faults; ``tests/unit/test_tidy.py`` applies them."""

import ast
import re
from collections.abc import Iterator, Set
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ingestd"
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
NOT_OURS = {".git", ".venv", "build", "dist", "results", "__pycache__"}

LEAVES = frozenset({"errors", "limits", "metrics", "figures", "scoreboard", "log", "secret", "letters"})
# room → the rooms that it may import besides itself. The root (the version) is free to all but the client.
ALLOWED: dict[str, Set[str]] = {
    "errors": frozenset(),
    "limits": frozenset(),
    "metrics": frozenset(),
    "figures": frozenset(),
    "log": frozenset(),
    "prctl": frozenset({"errors"}),
    "secret": frozenset(),
    "letters": frozenset(),
    "scoreboard": frozenset({"metrics", "figures", "limits", "errors"}),
    "config": frozenset({"errors", "limits", "metrics", "secret"}),
    "client": frozenset(),
    "hotpath": frozenset(),
    "partitioner": frozenset({"errors", "hotpath"}),
    "kafka": frozenset({"errors", "limits", "secret"}),
    "producer": LEAVES | {"kafka", "hotpath", "config"},
    # `check --live` asks over the producer's own connections: it is told what the daemon would be told.
    "live": LEAVES | {"producer", "kafka", "config"},
    "listeners": LEAVES | {"hotpath", "config"},
    "worker": LEAVES | {"listeners", "producer", "hotpath", "config", "partitioner", "prctl"},
    "supervisor": LEAVES | {"config"},
    "admin": LEAVES | {"prctl"},
    "cli": LEAVES | {"supervisor", "client", "admin", "config", "live", "partitioner"},
    "__main__": frozenset({"cli"}),
}
# Rooms inside of a room: what of that room they may import besides themselves.
INNER: dict[str, Set[str]] = {
    "ingestd.producer.lanes": frozenset(),
    "ingestd.producer.network": frozenset({"ingestd.producer.common"}),
}
# The one address grammar lives in the client, which imports nothing; who else needs addresses takes it from there.
ADDRESS = "ingestd.client.address"
ADDRESS_USERS = frozenset({"config", "listeners", "supervisor", "worker"})
# So do the words of a program that sends (errors by Kafka's names, records, serializers): both kinds of producers speak
# them.
SPOKEN = tuple(f"ingestd.client.{noun}" for noun in ("errors", "future", "records", "serializers"))
SPEAKERS = frozenset({"producer"})
# Foreign modules that a room must do without.
FORBIDDEN_FOREIGN: dict[str, frozenset[str]] = {"supervisor": frozenset({"uvloop", "kio", "zstandard", "lz4"})}

MARKERS = re.compile(
    "|".join(rf"\b{first}{rest}\b" for first, rest in (("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK")))
)
LOCAL_PATHS = re.compile(r"(?<![\w.:/-])/(?:home|root|work|Users)/[\w.]|(?<![\w.-])/tmp" + "/w/")
REGISTRIES = re.compile(
    "pypi" + r"\.org|pythonhosted" + r"\.org|maven" + r"\.org|maven\.apache\.org/maven2|crates" + r"\.io"
)

IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import\s+(.+)|c?import\s+([\w.]+))")
FUNCTION = re.compile(r"^( *)(?:async def|def|cdef|cpdef)\b(?! class\b)[^=]*?\b(\w+)\(")


def files(*suffixes: str, under: Path = ROOT) -> list[Path]:
    """Our own files with one of these suffixes, built and foreign ones left out."""
    return sorted(
        path
        for path in under.rglob("*")
        if path.suffix in suffixes
        and not NOT_OURS & set(path.relative_to(ROOT).parts)
        and not (path.suffix == ".c" and path.with_suffix(".pyx").exists())
        and path.is_file()
    )


def module_name(path: Path) -> str:
    """``ingestd/kafka/errors.py`` → ``ingestd.kafka.errors``; a package is named without ``__init__``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(text: str, compiled: bool = False) -> Iterator[str]:
    """Full names of the modules (or of what is taken out of them) that a source imports."""
    if compiled:
        for line in text.splitlines():
            if found := IMPORT.match(line):
                module, names, plain = found.groups()
                yield plain or module
                for name in re.findall(r"\w+", (names or "").split("#")[0]):
                    yield f"{module}.{name}"
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.level == 0)


def room(module: str) -> str:
    """The part of the package that a module belongs to; "" for the root."""
    return module.split(".")[1] if "." in module else ""


def import_faults(module: str, text: str, compiled: bool = False) -> list[str]:
    """Imports of ``module`` that run against the direction table."""
    home = room(module)
    if home and home not in ALLOWED:
        return [f"{module}: {home} has no row in the direction table"]
    faults = []
    for target in imported(text, compiled):
        top = target.split(".")[0]
        if target.startswith("."):
            faults.append(f"{module} imports {target}: relative imports hide the direction")
        elif top in FORBIDDEN_FOREIGN.get(home, ()):
            faults.append(f"{module} imports {target}, which {home} must do without")
        elif top == "ingestd" and not _allowed(home, target):
            faults.append(f"{module} imports {target}: {home or 'the root'} may not")
        elif not _allowed_inside(module, target):
            faults.append(f"{module} imports {target}: that room may not")
    return sorted(set(faults))


def _allowed_inside(module: str, target: str) -> bool:
    """Whether a module of an inner room keeps to what it may have of the room around it."""
    inner = ".".join(module.split(".")[:3])
    outer = inner.rpartition(".")[0]
    if inner not in INNER or not target.startswith(f"{outer}."):
        return True
    return any(f"{target}.".startswith(f"{allowed}.") for allowed in (inner, *INNER[inner]))


def _allowed(home: str, target: str) -> bool:
    if home in ADDRESS_USERS and (target == ADDRESS or target.startswith(f"{ADDRESS}.")):
        return True
    if home in ADDRESS_USERS and target == "ingestd.client":
        return (
            True  # the first half of "from ingestd.client import address"; anything else in it is looked at by itself
        )
    if home in SPEAKERS and (target == "ingestd.client" or target.startswith(SPOKEN)):
        return True
    goal = room(target)
    if goal not in ALLOWED and not (goal and (PACKAGE / goal).is_dir()):
        return home != "client"  # the root itself: its version
    return goal == home or goal in ALLOWED.get(home, ())


def function_lengths(text: str) -> Iterator[tuple[str, int]]:
    """(name, lines) of every function of a Python or Cython source, counted from its ``def`` to its last line."""
    lines = text.splitlines()
    for start, line in enumerate(lines):
        if not (found := FUNCTION.match(line)):
            continue
        indent, end = len(found[1]), start
        for number in range(start + 1, len(lines)):
            stripped = lines[number].strip()
            if not stripped or stripped.startswith("#"):
                continue
            if len(lines[number]) - len(lines[number].lstrip()) <= indent and not stripped.startswith(")"):
                break
            end = number
        yield found[2], end - start + 1


def unit_test_faults(text: str) -> list[str]:
    """What a unit test may not do: open sockets, sleep, read a clock to wait for it."""
    faults = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("socket.socket", "socket.socketpair", "socket.create_connection", "socket.create_server"):
                faults.append(f"line {node.lineno}: opens a socket ({called})")
            if called in ("time.sleep", "sleep", "asyncio.sleep"):
                faults.append(f"line {node.lineno}: sleeps")
    return faults


def initialisation_faults(text: str) -> list[str]:
    """What stands in the root ``__init__`` besides its docstring and the version."""
    return [
        f"line {node.lineno}: {ast.unparse(node).splitlines()[0]}"
        for node in ast.parse(text).body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__")
    ]
