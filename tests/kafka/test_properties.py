"""Our reader of properties files against Java's own."""

import random
import subprocess
from pathlib import Path

from ingestd.config.faults import RefusedError
from ingestd.config.properties import parse_properties

PROGRAM = Path(__file__).with_name("java") / "DumpProperties.java"
PIECES = ["a", "b.c", "=", ":", " ", "\t", "\f", "\\", "\\\\", "\n", "\r", "\r\n", "#", "!", "\\u00e4", "\\u12", "\\n"]
PIECES += ["\xe4", "\\=", "\\:", "\\ ", "\\\n", "\\\r\n", "${x}", '"', ";", "0"]
FILES = 400


def test_every_file_is_read_as_java_reads_it(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    texts = {f"{n:04}": "".join(chance.choices(PIECES, k=chance.randrange(30))) for n in range(FILES)}
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    command = ["java", "-XX:TieredStopAtLevel=1", str(PROGRAM), str(tmp_path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert len(lines) == FILES
    for line in lines:
        name, *words = line.split(" ")
        assert ours(texts[name]) == theirs(words), repr(texts[name])


def theirs(words: list[str]) -> dict[str, str] | None:
    if words == ["malformed"]:
        return None
    pairs = (word.split("=") for word in words if word)
    return {text_of(name): text_of(value) for name, value in pairs}


def text_of(hexadecimal: str) -> str:
    return bytes.fromhex(hexadecimal).decode("utf-16-be", "replace")


def ours(text: str) -> dict[str, str] | None:
    try:
        return {entry.name: entry.value for entry in parse_properties(text)}
    except RefusedError:
        return None
