"""Kinds of values: what may stand behind an equals sign, in words and as a check. Used by the settings tables."""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, NamedTuple

from ingestd.config.faults import RefusedError, toml_text
from ingestd.secret import Secret

INT_MAX: Final = 2**31 - 1
LONG_MAX: Final = 2**63 - 1


class Default(Enum):
    """Defaults that are not values."""

    REQUIRED = "required"
    UNSET = "derived"


REQUIRED: Final = Default.REQUIRED
UNSET: Final = Default.UNSET


def as_text(text: str) -> object:
    """A value of a Kafka properties file for kinds that are strings in TOML too."""
    return text


class Kind(NamedTuple):
    """A type of values: its name, the legal ones in words, and the check (the value to use, or RefusedError).

    ``from_text`` makes of a value of a Kafka properties file (always a string, without blanks around it) what would
    stand in TOML, for ``read`` to check; what it cannot make sense of it gives back as it is.
    """

    name: str
    valid: str
    read: Callable[[object], object]
    from_text: Callable[[str], object] = as_text


class Setting(NamedTuple):
    """One setting: the key as written, its kind and default, the value's unit, and a sentence on when to change it."""

    name: str
    kind: Kind
    default: object
    unit: str
    text: str


def integer(low: int, high: int) -> Kind:
    """A whole number from ``low`` to ``high``."""

    def read(value: object) -> object:
        if isinstance(value, str) and value.strip().lstrip("-").isdigit():
            raise RefusedError("a number in quotes", f"Write {value.strip()} without them")
        if isinstance(value, bool) or not isinstance(value, int):
            raise RefusedError("not a whole number", f"Write a whole number {_range(low, high)}")
        if not low <= value <= high:
            raise RefusedError("out of range", f"Write a whole number {_range(low, high)}")
        return value

    return Kind("integer", _range(low, high), read, _whole_number)


def _whole_number(text: str) -> object:
    try:
        return int(text) if text.isascii() and "_" not in text else text
    except ValueError:
        return text


def _range(low: int, high: int) -> str:
    if high == LONG_MAX:
        return f"from {low}"
    return f"from {low} to {high}"


def share() -> Kind:
    """A number above 0 and up to 1."""

    def read(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            raise RefusedError("not a share", "Write a number above 0 and up to 1, such as 0.9")
        return float(value)

    return Kind("number", "above 0, up to 1", read, number_of_text)


def number(low: float, high: float) -> Kind:
    """A number from ``low`` to ``high``."""
    valid = f"from {low} to {high}"

    def read(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise RefusedError("not a number in range", f"Write a number {valid}")
        return float(value)

    return Kind("number", valid, read, number_of_text)


def number_of_text(text: str) -> object:
    """``0.8`` as a number, for kinds of fractions."""
    try:
        return float(text)
    except ValueError:
        return text


def boolean() -> Kind:
    def read(value: object) -> object:
        if not isinstance(value, bool):
            raise RefusedError("neither true nor false", "Write true or false, without quotes")
        return value

    return Kind("boolean", "true, false", read, lambda text: {"true": True, "false": False}.get(text.lower(), text))


def choice(*choices: str, later: Sequence[str] = ()) -> Kind:
    """One of ``choices``; ``later`` are known ones that this version refuses."""
    listed = ", ".join(map(toml_text, choices))

    def read(value: object) -> object:
        if isinstance(value, str) and value in later:
            raise RefusedError("not yet", f"Use one of {listed}")
        if not isinstance(value, str) or value not in choices:
            raise RefusedError("not a known value", f"Use one of {listed}")
        return value

    return Kind("string", listed, read)


def text(*, empty: bool = False, bytes_max: int = 1024) -> Kind:
    """A string without control characters."""

    def read(value: object) -> object:
        if not isinstance(value, str):
            raise RefusedError("not a string", "Write it in quotes")
        if not value and not empty:
            raise RefusedError("empty", "Give it a value or leave it out")
        if not value.isprintable() or len(value.encode()) > bytes_max:
            raise RefusedError("control characters or too long", f"Use at most {bytes_max} bytes of printable text")
        return value

    return Kind("string", "text", read)


def secret(*, empty: bool = False, bytes_max: int = 1 << 20) -> Kind:
    """A string that is never shown; it becomes a :class:`Secret`. Keys and certificates have several lines."""

    def read(value: object) -> object:
        if not isinstance(value, str):
            raise RefusedError("not a string", "Write it in quotes")
        if not value and not empty:
            raise RefusedError("empty", "Give it a value or leave it out")
        try:
            size_bytes = len(value.encode())
        except UnicodeEncodeError:
            raise RefusedError("not UTF-8", "Give it as text") from None
        if size_bytes > bytes_max:
            raise RefusedError("too long", f"Use at most {bytes_max} bytes")
        return Secret(str.__str__(value))

    return Kind("secret", 'text, better "${file:PATH}"', read)


def texts() -> Kind:
    """A list of different strings."""
    return Kind("list", "strings", _read_texts, list_of_text)


def list_of_text(text: str) -> object:
    """``a, b`` as Kafka reads lists: parted by commas, blanks around them dropped, nothing for an empty text."""
    return [item.strip() for item in text.split(",")] if text else []


def _read_texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RefusedError("not a list of strings", 'Write it as ["a", "b"]')
    if len(set(value)) != len(value):
        raise RefusedError("the same entry twice", "Name each one once")
    return tuple(value)


def anything() -> Kind:
    """A value whose own reader checks it."""
    return Kind("value", "see its explanation", lambda value: value)


def integer_or(word: str, low: int, high: int) -> Kind:
    """A whole number, or ``word``, which becomes None."""
    number = integer(low, high)

    def read(value: object) -> object:
        if value == word:
            return None
        try:
            return number.read(value)
        except RefusedError as refused:
            raise RefusedError(refused.text, f'{refused.cure}, or "{word}"') from None

    return Kind("integer or string", f'"{word}" or {number.valid}', read, _whole_number)


def acks() -> Kind:
    """Kafka's three levels; "all" in any case becomes -1."""

    def read(value: object) -> object:
        word = value.strip().lower() if isinstance(value, str) else value
        levels = {"all": -1, "-1": -1, "0": 0, "1": 1, -1: -1, 0: 0, 1: 1}
        if isinstance(word, bool) or not isinstance(word, str | int) or word not in levels:
            raise RefusedError("not a level of acknowledgement", 'Use "all", 1 or 0')
        return levels[word]

    return Kind("string or integer", '"all", -1, 0, 1', read)


def servers() -> Kind:
    """Seed brokers, ``host:port`` each; IPv6 in brackets."""

    def read(value: object) -> object:
        seeds = _read_texts(value)
        if not seeds:
            raise RefusedError("no broker", 'Name at least one, such as ["kafka-1:9092"]')
        for seed in seeds:
            _check_server(seed)
        return seeds

    return Kind("list", '"host:port", no duplicates', read, _servers_of_text)


def _servers_of_text(text: str) -> object:
    """As a list; Java also takes addresses with a protocol in front, and ignores it (``Utils.getHost``)."""
    return [item.strip().partition("://")[2] or item.strip() for item in text.split(",")] if text else []


def _check_server(seed: str) -> None:
    host, colon, port = seed.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or (":" in host and not bracketed) or not seed.isprintable() or " " in seed or "/" in seed:
        raise RefusedError(f"{toml_text(seed)} is not host:port", 'Write "kafka-1:9092", or "[::1]:9092" for IPv6')
    if not port.isascii() or not port.isdigit() or len(port) > 5 or not 0 < int(port) < 65_536:
        raise RefusedError(f"{toml_text(seed)} has no legal port", "Use a port from 1 to 65535, mostly 9092")


def socket_mode() -> Kind:
    """Permissions of a socket file: octal, as text or as a TOML octal number."""
    cure = 'Write it in octal, in quotes: "0660"'

    def read(value: object) -> object:
        if isinstance(value, str) and value and set(value) <= set("01234567"):
            value = int(value, 8)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 0o777:
            raise RefusedError("not a file mode", cure)
        return value

    return Kind("string", "octal, up to 0777", read)
