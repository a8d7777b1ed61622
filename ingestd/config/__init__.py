"""Configuration: from a TOML file to a checked, frozen :class:`ingestd.config.model.Config`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingestd.config.model import Config


def load(path: str | os.PathLike[str]) -> "Config":
    """Reads and checks the file at ``path``; raises ConfigurationError with every fault."""
    # Workers get the finished model from their plan: only who reads a file pays for the reader.
    from ingestd.config.reader import load as load_file

    return load_file(Path(path))
