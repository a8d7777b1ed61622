"""Compiles ``arena_driver.pyx`` for the tests next to it; kept in ``build/`` until one of its sources changes."""

import hashlib
import importlib.machinery
import importlib.util
import os
import platform
import sys
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
HOTPATH = ROOT / "ingestd" / "hotpath"


def _compile(target: Path) -> None:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension  # type: ignore[import-untyped]

    arguments = ["-O2", "-march=x86-64-v2" if platform.machine() == "x86_64" else "-march=armv8-a+crc"]
    links: list[str] = []
    if os.environ.get("INGESTD_SANITIZE") == "1":
        links = ["-fsanitize=address,undefined"]
        arguments += ["-O1", "-fno-omit-frame-pointer", *links]
    source = target / "arena_driver.pyx"
    source.write_bytes((HERE / "arena_driver.pyx").read_bytes())
    extension = Extension(
        "arena_driver",
        [str(source)],
        include_dirs=[str(HOTPATH), str(HERE)],
        define_macros=[("_GNU_SOURCE", None)],
        extra_compile_args=arguments,
        extra_link_args=links,
    )
    modules = cythonize([extension], include_path=[str(ROOT)], quiet=True)  # type: ignore[no-untyped-call]
    distribution = Distribution({"ext_modules": modules})
    command = distribution.get_command_obj("build_ext")
    command.build_lib = str(target)
    command.build_temp = str(target)
    command.ensure_finalized()
    command.run()


def load() -> ModuleType:
    """The driver, compiled now if need be."""
    if "arena_driver" in sys.modules:
        return sys.modules["arena_driver"]
    sources = [HERE / "arena_driver.pyx", HERE / "stepping.h", *HOTPATH.glob("*.pxd"), *HOTPATH.glob("*.h")]
    digest = hashlib.sha256(sys.version.encode() + os.environ.get("INGESTD_SANITIZE", "").encode())
    for path in sorted(sources):
        digest.update(path.read_bytes())
    target = ROOT / "build" / "tests" / digest.hexdigest()[:16]
    if not list(target.glob("arena_driver*.so")):
        target.mkdir(parents=True, exist_ok=True)
        _compile(target)
    binary = str(next(iter(target.glob("arena_driver*.so"))))
    loader = importlib.machinery.ExtensionFileLoader("arena_driver", binary)
    spec = importlib.util.spec_from_file_location("arena_driver", binary, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules["arena_driver"] = module
    return module
