"""What a crash may leave behind: nothing, where this process and its workers know passwords and keys."""

import contextlib
import resource
from pathlib import Path
from typing import Final

_FILTER: Final = Path("/proc/self/coredump_filter")


def forbid() -> None:
    """No memory of this process, or of one that it starts, goes into a core dump.

    The limit keeps dumps from being written to files; one that is piped to a program is made all the same (core(5)),
    and the filter leaves it without any memory. Both are inherited, also through exec.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # a kernel without the file has no filter; the limit is there
        _FILTER.write_text("0")
