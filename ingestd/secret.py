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


class Expanded(str):
    """Configuration text in which variables were replaced: it may stand for a number, a switch or a list as well."""

    __slots__ = ()


class Concealed(Expanded):
    """Configuration text that came out of a ``${file:PATH}``, before its setting says what it is.

    String operations see the text; whatever shows it (``str``, ``repr``, format) shows ``***``, so that a fault about
    it cannot give it away. :func:`plain` gives the text.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, specification: str) -> str:
        return format(MASK, specification)


def plain(value: object) -> object:
    """``value`` with every Expanded in it (lists, tuples and tables too) as an ordinary text."""
    if isinstance(value, Expanded):
        return str.__str__(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if type(value) is tuple:
        return tuple(plain(item) for item in value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value
