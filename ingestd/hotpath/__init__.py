"""Everything that runs once per record, compiled. Imports nothing of ingestd outside this package."""

import sys
from importlib.util import find_spec

PYTHON = ".".join(map(str, sys.version_info[:2]))

if find_spec("ingestd.hotpath.crc32c") is None:
    raise ImportError(
        f"ingestd's record path is not compiled for Python {PYTHON} in {__path__[0]}."
        " Install it (pip install .) and start Python in another folder than that of the sources, or compile it there"
        " (make build)"
    )
