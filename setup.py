"""Builds the compiled record path: every ``ingestd/hotpath/*.pyx`` is one extension module.

``INGESTD_SANITIZE=1`` builds with AddressSanitizer and UndefinedBehaviorSanitizer and with the cursor invariants
(``INGESTD_DEBUG``) compiled in; ``make sanitize`` uses it.
"""

import os
import platform
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

HOTPATH = Path("ingestd/hotpath")
JOBS = os.cpu_count() or 1


def compiler_settings(sanitize: bool) -> tuple[list[str], list[str], list[tuple[str, str | None]]]:
    """Compile arguments, link arguments and macros for this machine."""
    compile_args = ["-O2", "-g1", "-fno-strict-aliasing", "-fstack-protector-strong", "-Wno-unreachable-code"]
    # Cython compares its own temporaries of either sign; what we write is checked by its typing.
    compile_args.append("-Wno-sign-compare")
    link_args = ["-Wl,-z,relro,-z,now"]
    macros: list[tuple[str, str | None]] = [("_GNU_SOURCE", None)]
    if platform.machine() == "x86_64":
        # x86-64-v2 is every server and gateway CPU since 2009; it has the CRC-32C instruction.
        compile_args.append("-march=x86-64-v2")
    elif platform.machine() == "aarch64":
        compile_args.append("-march=armv8-a+crc")
    if not sanitize:
        return [*compile_args, "-D_FORTIFY_SOURCE=3"], link_args, macros
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
    # -U: the interpreter's own flags may ask for _FORTIFY_SOURCE, whose checked calls hide overruns from the sanitizer.
    compile_args += ["-O1", "-U_FORTIFY_SOURCE", *sanitizers]
    return compile_args, [*link_args, *sanitizers], [*macros, ("INGESTD_DEBUG", "1")]


def extensions() -> list[Extension]:
    """One extension per .pyx; all are rebuilt when any header or declaration changes."""
    compile_args, link_args, macros = compiler_settings(os.environ.get("INGESTD_SANITIZE") == "1")
    shared = sorted(path.as_posix() for suffix in ("h", "pxd") for path in HOTPATH.glob(f"*.{suffix}"))
    return [
        Extension(
            f"ingestd.hotpath.{source.stem}",
            [source.as_posix()],
            include_dirs=[HOTPATH.as_posix()],
            define_macros=macros,
            extra_compile_args=compile_args,
            extra_link_args=link_args,
            depends=shared,
        )
        for source in sorted(HOTPATH.glob("*.pyx"))
    ]


setup(
    ext_modules=cythonize(
        extensions(),
        nthreads=JOBS,
        compiler_directives={
            "language_level": "3",
            "boundscheck": True,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": False,
        },
    ),
    options={"build_ext": {"parallel": JOBS}},
)
