"""What Java says of properties files and of the settings of its producer, against what we say."""

import random
import subprocess
from pathlib import Path

from ingestd.config.faults import RefusedError
from ingestd.config.properties import parse_properties
from tests.kafka import artifacts
from tests.reference.kafka_settings import kafka_settings

PROGRAMS = Path(__file__).with_name("java")
PIECES = ["a", "b.c", "=", ":", " ", "\t", "\f", "\\", "\\\\", "\n", "\r", "\r\n", "#", "!", "\\u00e4", "\\u12", "\\n"]
PIECES += ["\xe4", "\\=", "\\:", "\\ ", "\\\n", "\\\r\n", "${x}", '"', ";", "0"]
FILES = 400


def test_every_file_is_read_as_java_reads_it(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    texts = {f"{n:04}": "".join(chance.choices(PIECES, k=chance.randrange(30))) for n in range(FILES)}
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    lines = java("DumpProperties", str(tmp_path))
    assert len(lines) == FILES
    for line in lines:
        name, *words = line.split(" ")
        assert ours(texts[name]) == theirs(words), repr(texts[name])


def java(program: str, *arguments: str) -> list[str]:
    """The lines that a program of the folder ``java`` prints."""
    class_path = ":".join(map(str, artifacts.jars()))
    command = ["java", "-XX:TieredStopAtLevel=1", "-cp", class_path, str(PROGRAMS / f"{program}.java"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


def test_the_written_out_settings_are_those_of_kafkas_producer() -> None:
    found = {}
    for line in java("PrintProducerConfig"):
        name, kind, default, validator = line.split("\t")
        found[name] = (kind, default, validator if "..." in validator else "")
    assert found == {row.name: (row.type, row.default, row.range) for row in kafka_settings()}


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
