"""Builds of the record path that differ from the usual one, and arenas that live under them: other optimisation, other
compilers, and faults planted in the code itself. Kept in ``build/`` until a source changes.
"""

import hashlib
import importlib.machinery
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PACKAGE = ROOT / "ingestd"
HOTPATH = PACKAGE / "hotpath"
SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]
# The modules with code that stores into an arena.
STORING = (
    "appender",
    "arena",
    "datagram",
    "directory",
    "intake",
    "recovery",
    "region",
    "splitting",
    "stream",
    "tables",
)
SEEN_WRONG = 3


def compiled(arguments: Sequence[str], modules: Sequence[str] = STORING) -> Path:
    """A package whose ``modules`` are compiled anew from the C files of the usual build. ``arguments``: the compiler,
    and how.
    """
    digest = hashlib.sha256(" ".join([sys.version, *arguments, *modules]).encode())
    for source in sorted(HOTPATH.glob("*.c")) + sorted(HOTPATH.glob("*.h")):
        digest.update(source.read_bytes())
    target = _package(digest.hexdigest(), {f"{module}{SUFFIX}" for module in modules})
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(partial(_compile, arguments, target), [HOTPATH / f"{module}.c" for module in modules]))
    return target


def planted(module: str, changes: Mapping[str, str]) -> Path:
    """A package with a fault in ``module``: each text of it that is a key becomes its value."""
    from Cython.Build import cythonize

    source = (HOTPATH / f"{module}.pyx").read_text()
    for old, new in changes.items():
        assert source.count(old) == 1, f"{module}.pyx has changed: the fault is to be planted anew at {old!r}"
        source = source.replace(old, new)
    digest = hashlib.sha256((sys.version + source).encode())
    for path in sorted([*HOTPATH.glob("*.pxd"), *HOTPATH.glob("*.h"), *HOTPATH.glob("*.c")]):
        digest.update(path.read_bytes())
    target = _package(digest.hexdigest(), {f"{module}{SUFFIX}", f"{module}.pyx"})
    if not (target / "ingestd" / "hotpath" / f"{module}{SUFFIX}").exists():
        changed = target / "ingestd" / "hotpath" / f"{module}.pyx"
        changed.write_text(source)
        cythonize(  # type: ignore[no-untyped-call]
            [str(changed)],
            include_path=[str(target)],
            quiet=True,
            compiler_directives={"language_level": "3", "wraparound": False, "cdivision": True},
        )
        _compile(["cc", "-O2"], target, changed.with_suffix(".c"))
    return target


def _package(digest: str, left_out: set[str]) -> Path:
    # Links to all of ingestd but the files that are made anew.
    target = ROOT / "build" / "tests" / f"variant-{digest[:16]}"
    folder = target / "ingestd" / "hotpath"
    folder.mkdir(parents=True, exist_ok=True)
    for original in [*PACKAGE.iterdir(), *HOTPATH.iterdir()]:
        link = target / original.relative_to(ROOT)
        if original.name not in left_out | {"hotpath", "__pycache__"} and original.suffix != ".c" and not link.exists():
            link.symlink_to(original)
    return target


def _compile(arguments: Sequence[str], target: Path, source: Path) -> None:
    binary = target / "ingestd" / "hotpath" / f"{source.stem}{SUFFIX}"
    if binary.exists():
        return
    half = binary.with_suffix(".half")
    command = [*arguments, "-shared", "-fPIC", "-fno-strict-aliasing", "-fwrapv", "-w", "-D_GNU_SOURCE"]
    if os.uname().machine == "x86_64":
        command.append("-march=x86-64-v2")
    command += [f"-I{HOTPATH}", f"-I{sysconfig.get_path('include')}", str(source), "-o", str(half)]
    subprocess.run(command, check=True, timeout=600)
    half.rename(binary)


def outcome(package: Path, seed: int, steps: int) -> str:
    """What was seen wrong with arenas that make every step once, and ``steps`` random ones; "" if nothing was."""
    environment = os.environ | {"PYTHONPATH": f"{package}:{ROOT}"}
    command = [sys.executable, "-m", "tests.model.variants", str(package), str(seed), str(steps)]
    done = subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode in (0, SEEN_WRONG), done.stdout + done.stderr
    assert (done.returncode == 0) == (done.stdout == "")
    return done.stdout


def main(package: str, seed: str, steps: str) -> int:
    """Runs in the variant's own interpreter."""
    import ingestd.hotpath.arena
    from tests.model.arena_lives import by_chance, every_step
    from tests.model.arena_watch import watch

    assert Path(ingestd.hotpath.arena.__file__).parent == Path(package) / "ingestd" / "hotpath"
    with tempfile.TemporaryDirectory() as folder:
        try:
            watch(Path(folder) / "steps.arena", every_step)
            watch(Path(folder) / "chance.arena", lambda life: by_chance(life, int(seed), int(steps)))
        except AssertionError as error:
            sys.stdout.write(f"{error}\n")
            return SEEN_WRONG
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
