"""Collecting faults: every one is found and told, with its key, its value as written, and the cure."""

import difflib
from collections.abc import Iterable
from typing import Final

from ingestd.config.sources import Sources
from ingestd.errors import ConfigurationError, Fault
from ingestd.secret import MASK, Concealed, Secret

VALUE_CHARACTERS_MAX: Final = 120
_SECRET_WORDS: Final = ("password", "passphrase", "secret", "jaas", "ssl.keystore.key", "token")
_PUBLIC_ENDINGS: Final = (".url", ".file", ".location", ".type", ".class")
"""What a name that holds a secret's word may end with and say only where the secret is, or of what kind."""
ABSENT: Final = object()
MASKED: Final = f'"{MASK}"'


def toml_text(value: object) -> str:
    """``value`` as it would stand in a TOML file (inline, also for tables); a secret is masked, unless it is empty."""
    if isinstance(value, Secret):
        return MASKED if value.reveal() else '""'
    if isinstance(value, Concealed):
        return MASKED
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(_escaped(character) for character in value) + '"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_text(item) for item in value) + "]"
    if isinstance(value, dict):
        inner = ", ".join(f"{toml_key(str(key))} = {toml_text(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return str(value)


def toml_key(key: str) -> str:
    """``key`` as it stands before the equals sign, quoted where it must be."""
    bare = key.isascii() and key.replace("_", "a").replace("-", "a").isalnum()
    return key if bare else toml_text(key)


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    short = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r"}.get(code)
    return short or (f"\\u{code:04x}" if code < 0x1_0000 else f"\\U{code:08x}")


def is_secret(key: str) -> bool:
    """Whether the value of ``key`` must never be shown."""
    name = key.lower()
    return any(word in name for word in _SECRET_WORDS) and not name.endswith(_PUBLIC_ENDINGS)


def shown(key: str, value: object) -> str:
    """``value`` for people: as TOML, cut to a length, secrets masked."""
    if value is ABSENT:
        return ""
    if is_secret(key) and value not in ("", Secret("")):
        return MASKED
    text = toml_text(value)
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[: VALUE_CHARACTERS_MAX - 1] + "…"


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that ``name`` was probably meant to be, "" where none is near."""
    matches = difflib.get_close_matches(name.lower().replace("_", "."), list(known), n=1, cutoff=0.7)
    return matches[0] if matches else ""


class RefusedError(Exception):
    """A value that cannot be used: what is wrong, and what to write instead."""

    def __init__(self, text: str, cure: str) -> None:
        self.text = text
        self.cure = cure
        super().__init__(f"{text}. {cure}")


class Faults:
    """The faults found so far, in the order of the file's sections, and what is no fault and yet worth a word."""

    def __init__(self, sources: Sources | None = None) -> None:
        self.found: list[Fault] = []
        self.notes: list[str] = []
        self.sources = sources or Sources()
        self._settled: set[str] = set()

    def add_last(self, key: str, value: object, text: str, cure: str) -> None:
        """As :meth:`add`; whatever else would be said of ``key`` follows from this and is left out."""
        self.add(key, value, text, cure)
        self._settled.add(key)

    def add(self, key: str, value: object, text: str, cure: str) -> None:
        """Adds what is wrong with ``value`` (ABSENT: nothing is there), and what to write instead."""
        if key in self._settled:
            return
        source = self.sources.of(key)
        visible = shown(key, value)
        if self.sources.hides(key) and value is not ABSENT:
            # What is said of a value quotes it more often than not.
            visible, text, cure = MASKED, "not legal, and not shown, for it comes out of a file", "Correct that file"
        self.found.append(Fault(printable_key(key), visible, text, cure, source.place))

    def note(self, key: str, text: str) -> None:
        """Notes ``text`` about ``key``, with the file that holds it."""
        source = self.sources.of(key)
        self.notes.append(f"{source.place}: {printable_key(key)}: {text}" if source.place else f"{key}: {text}")

    def raise_if_any(self) -> None:
        if self.found:
            raise ConfigurationError(self.found)


def printable_key(key: str) -> str:
    """``key`` for people, whatever is in it."""
    return key if key.isprintable() else toml_text(key)
