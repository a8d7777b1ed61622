"""What README.md, DESIGN.md, PROTOCOL.md and docs/ tell their readers to run or write: blocks, and commands inline."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS: Final = [*sorted(ROOT.glob("*.md")), *PAGES]
LANGUAGES: Final = frozenset({"", "console", "python", "toml"})
"""Those whose blocks somebody looks at; one without a language is a drawing."""
PROGRAMS: Final = ("cc", "curl", "ingestd", "keytool", "make", "pip", "python", "sh", "systemctl")

_BLOCK: Final = re.compile(r"^```(?P<language>[\w-]*)\n(?P<text>.*?)^```$", re.M | re.S)
_SPAN: Final = re.compile(r"(?<![`\w])`([^`\n]+)`(?!`)")
_ASSIGNED: Final = re.compile(r"[A-Z_]+=\S+ ")
_COMMAND: Final = re.compile(rf"(?:{_ASSIGNED.pattern})*(?:{'|'.join(PROGRAMS)}) \S.*")


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str


class Step(NamedTuple):
    """A command for the shell, or a program in Python."""

    is_program: bool
    text: str


def blocks_of(text: str) -> Iterator[Block]:
    """Every block, in the text's order. AssertionError: one that nobody would run or read."""
    for found in _BLOCK.finditer(text):
        yield _block(found["language"], found["text"])


def steps_of(text: str) -> Iterator[Step]:
    """What a reader is told to run, in the text's order: console lines, Python blocks, commands with options inline.

    A command without options (`make demo` in a sentence) is a name rather than an order: ``spans_of`` has those too.
    """
    for part in re.split(r"(^```[\w-]*\n.*?^```$)", text, flags=re.M | re.S):
        found = _BLOCK.fullmatch(part)
        if found is None:
            yield from (Step(False, span) for span in commands_in(part) if re.match(r"[a-z]+ -", span))
            continue
        block = _block(found["language"], found["text"])
        if block.language == "console":
            yield from (Step(False, line[2:]) for line in block.text.splitlines() if line.startswith("$ "))
        elif block.language == "python":
            yield Step(True, block.text)


def commands_in(text: str) -> Iterator[str]:
    """Every command that stands in a sentence or a table of ``text`` (blocks are left out)."""
    for span in spans_in(text):
        if _COMMAND.fullmatch(span):
            yield span


def spans_in(text: str) -> Iterator[str]:
    """Everything that is set as code within ``text`` (blocks are left out)."""
    yield from _SPAN.findall(_BLOCK.sub("", text))


def _block(language: str, text: str) -> Block:
    assert language in LANGUAGES, f"nobody runs or checks ```{language}: write ```console and $, ```python or ```toml"
    assert language or not re.search(r"^\$ ", text, re.M), f"a command in a block that is no ```console:\n{text}"
    return Block(language, text)
