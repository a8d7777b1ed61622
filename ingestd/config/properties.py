"""Java's properties files (``java.util.Properties.load``), as Kafka's clients are configured with."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from ingestd.config.faults import RefusedError

_BLANKS: Final = " \t\f"
_NATURAL_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|$)")
_SHORT: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


class Property(NamedTuple):
    """One key with its value; ``line`` is where it begins, counted from 1."""

    name: str
    value: str
    line: int


def parse_properties(text: str) -> list[Property]:
    """Every key once, in the file's order; of a key that is given twice the last value counts, as in Java.

    RefusedError: an escape that Java does not take either, with its line.
    """
    found: dict[str, Property] = {}
    for line, logical in _logical_lines(text):
        name, value = _split(logical)
        try:
            entry = Property(_unescaped(name), _unescaped(value), line)
        except ValueError:
            text = f"line {line} has a \\u that is not followed by four hexadecimal digits"
            raise RefusedError(text, "Double the backslash, or write the character itself") from None
        found.pop(entry.name, None)
        found[entry.name] = entry
    return list(found.values())


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number of its first line, logical line): comments and blank lines dropped, continued lines joined.

    As in Java, a line that holds nothing so far may still be found to be a comment after its continuation, and a
    backslash at the end of the file leaves a line, though an empty one (unless CR and LF stand behind it).
    """
    begun, joined = 0, ""
    for number, found in enumerate(_NATURAL_LINE.finditer(text), 1):
        line = found[0].rstrip("\r\n").lstrip(_BLANKS)
        if not joined and (not line or line[0] in "#!"):
            continue
        begun = begun if joined else number
        continued = (len(line) - len(line.rstrip("\\"))) % 2 == 1
        joined += line[:-1] if continued else line
        if not continued or (found.end() == len(text) and (joined or not found[0].endswith("\r\n"))):
            yield begun, joined
            joined = ""


def _split(line: str) -> tuple[str, str]:
    """Key and value, still escaped: the key ends at the first ``=``, ``:`` or blank that no backslash precedes."""
    at = 0
    while at < len(line) and line[at] not in "=:" + _BLANKS:
        at += 2 if line[at] == "\\" else 1
    name, rest = line[:at], line[at:].lstrip(_BLANKS)
    if rest[:1] in ("=", ":"):
        rest = rest[1:].lstrip(_BLANKS)
    return name, rest


def _unescaped(text: str) -> str:
    """Backslashes resolved; ValueError for a ``\\u`` without its four digits. Two of them may be a surrogate pair."""
    parts, at = [], 0
    while (backslash := text.find("\\", at)) >= 0:
        parts.append(text[at:backslash])
        character = text[backslash + 1 : backslash + 2]
        at = backslash + 2
        if character == "u":
            digits = text[at : at + 4]
            if len(digits) < 4 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
                raise ValueError(digits)
            parts.append(chr(int(digits, 16)))
            at += 4
        else:
            parts.append(_SHORT.get(character, character))
    unescaped = "".join(parts) + text[at:]
    return unescaped.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
