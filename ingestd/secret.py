"""Passwords, keys and tokens on their way from a file to a broker: carried, compared, and never shown."""

from typing import Final

from msgspec import Struct

MASK: Final = "***"


class Secret(Struct, frozen=True):
    """A text that no log, traceback, status or title may hold: its ``str``, ``repr`` and format are ``***``.

    :meth:`reveal` gives the text to the one who sends it. A struct of its own and not a kind of ``str``, so that it
    cannot be joined, formatted or logged by mistake, and so that msgspec carries it in a worker's plan (a memfd; never
    argv or the environment) without hooks. Two secrets are equal if their texts are.
    """

    text: str

    def reveal(self) -> str:
        """The text itself: hand it on, don't keep it."""
        return self.text

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, specification: str) -> str:
        return format(MASK, specification)

    def __rich_repr__(self) -> object:  # type: ignore[override]
        return iter((MASK,))
