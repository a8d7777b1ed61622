"""Configuration: from TOML files to a checked, frozen :class:`ingestd.config.model.Config`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingestd.config.model import Config


def load(*paths: str | os.PathLike[str]) -> "Config":
    """Reads and checks the files at ``paths``, later ones over earlier ones, each with the ``conf.d`` next to it.

    Raises ConfigurationError with every fault. Who wants to know where a value comes from takes ``reader.load``.
    """
    # Workers get the finished model from their plan: only who reads a file pays for the reader.
    from ingestd.config import reader

    return reader.load([Path(path) for path in paths]).config
