"""What opening, filling or changing an arena can end in.

ArenaError
├── ArenaDamaged        the file's header cannot be read: the caller sets the file aside and makes a fresh one
├── ArenaLayoutUnknown  written by another layout version: the caller sets it aside
├── ArenaInUse          another process holds the lock; ``owner_pid`` says which (0: not known)
├── ArenaFull           no page, entry or row left for what was asked
└── ArenaStateError     our own mistake: the batch is not in a state that allows the operation, or is still being sent
"""


class ArenaError(Exception):
    """Base of everything an arena raises, operating system errors apart."""


class ArenaDamaged(ArenaError):  # noqa: N818 - named for what is the case
    """Both copies of the header are unreadable, or the file is shorter than they say."""


class ArenaLayoutUnknown(ArenaError):  # noqa: N818 - named for what is the case
    """The file is an arena of a layout version that this build does not read."""


class ArenaInUse(ArenaError):  # noqa: N818 - named for what is the case
    """Another process has the arena open."""

    def __init__(self, path: str, owner_pid: int) -> None:
        super().__init__(f"arena {path} is in use by process {owner_pid or '(unknown)'}")
        self.owner_pid = owner_pid


class ArenaFull(ArenaError):  # noqa: N818 - named for what is the case
    """No page, directory entry or table row is left for what was asked."""


class ArenaStateError(ArenaError):
    """A batch was asked for something that its state, or a view of it that is still held, does not allow."""
