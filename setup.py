"""Builds the compiled record path: every ``ingestd/hotpath/*.pyx`` is one extension module.

``INGESTD_SANITIZE=1`` builds with AddressSanitizer and UndefinedBehaviorSanitizer and with the cursor invariants
(``INGESTD_DEBUG``) compiled in; ``make sanitize`` uses it.
"""

import os
import platform
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SANITIZE = os.environ.get("INGESTD_SANITIZE") == "1"

compile_args = ["-O2", "-g1", "-fno-strict-aliasing", "-fstack-protector-strong", "-Wno-unreachable-code"]
link_args = ["-Wl,-z,relro,-z,now"]
macros: list[tuple[str, str | None]] = [("_GNU_SOURCE", None)]
if platform.machine() == "x86_64":
    # x86-64-v2 is every server and gateway CPU since 2009; it has the CRC-32C instruction.
    compile_args.append("-march=x86-64-v2")
elif platform.machine() == "aarch64":
    compile_args.append("-march=armv8-a+crc")
if SANITIZE:
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
    compile_args = [*compile_args, "-O1", *sanitizers]
    link_args = [*link_args, *sanitizers]
    macros.append(("INGESTD_DEBUG", "1"))
else:
    compile_args.append("-D_FORTIFY_SOURCE=3")

extensions = [
    Extension(
        f"ingestd.hotpath.{source.stem}",
        [source.as_posix()],
        include_dirs=["ingestd/hotpath"],
        define_macros=macros,
        extra_compile_args=compile_args,
        extra_link_args=link_args,
        depends=sorted(path.as_posix() for path in Path("ingestd/hotpath").glob("*.[hp]*") if path.suffix in (".h", ".pxd")),
    )
    for source in sorted(Path("ingestd/hotpath").glob("*.pyx"))
]

setup(
    ext_modules=cythonize(
        extensions,
        nthreads=2,
        compiler_directives={
            "language_level": "3",
            "boundscheck": True,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": False,
        },
    )
)
