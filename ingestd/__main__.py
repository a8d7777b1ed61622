"""``python -m ingestd`` is ``ingestd``."""

import sys

from ingestd.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
