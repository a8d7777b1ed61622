"""What is in force, written as a file, reads as the same configuration."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from ingestd.config.documents import Document, parse_toml
from ingestd.config.reader import parse, read
from ingestd.config.render import to_toml
from ingestd.errors import ConfigurationError
from tests.unit.config.test_reader import FULL


@dataclass
class Case:
    name: str
    text: str


HEAD = '[producer]\nbootstrap.servers = ["k:1"]\n'
CASES = [
    Case("full", FULL),
    Case(
        "odd",
        '[daemon]\ndurability = "memory"\n'
        + HEAD
        + 'acks = 1\nenable.idempotence = false\ndelivery.timeout.ms = 60000\nclient.id = "a\\"b"\n'
        + "[topics.t]\ndelivery.timeout.ms = 'never'\n"
        + '[[listeners]]\nname = "d"\nlisten = "unix-datagram:/run/d"\nformat = "raw"\ntopic = "t"\nshards = 3\n'
        + 'mode = "0622"\nowner = "o"\ngroup = "g"\nreceive_buffer_bytes = 9000\nheaders = { "a b" = "ü\\n" }\n'
        + '[[listeners]]\nname = "u"\nlisten = "udp:[::1]:5"\nformat = "frames"\ntopics = ["t", "x.y"]\n'
        + 'timestamp = "arrival"\ntimestamp_out_of_bounds = "refuse"\nrecord_bytes_max = 100\n'
        + '[[listeners]]\nname = "k"\nlisten = "udp:[::1]:6"\nformat = "lines"\ntopic = "t"\nkey = "sender"\n',
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_printed_reads_as_what_was_read(case: Case) -> None:
    read = parse(case.text)
    assert parse(to_toml(read)) == read


def test_a_plain_dollar_brace_is_printed_as_one() -> None:
    rest = 'headers = { "h${" = "$${HOME} $$${b" }\n'
    loaded = read(listener(rest, 'client.id = "a$${b}$"\n'), {})
    assert loaded.config.producer.client_id == "a${b}$"
    assert loaded.config.listeners[0].headers == (("h${", b"${HOME} $${b"),)
    printed = to_toml(loaded.config, loaded.sources)
    assert read([Document("b.toml", parse_toml(printed, "b.toml"))], {}).config == loaded.config


def listener(rest: str, producer: str = "") -> list[Document]:
    text = f'{HEAD}{producer}[[listeners]]\nname = "l"\nlisten = "udp:[::1]:6"\nformat = "lines"\ntopic = "t"\n{rest}\n'
    return [Document("a.toml", parse_toml(text, "a.toml"))]


def test_what_came_out_of_a_file_is_masked_inside_a_table_too(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2")
    secret = f"${{file:{tmp_path}/token}}"
    loaded = read(listener(f'headers = {{ authorization = "{secret}", plain = "b" }}'), {})
    assert loaded.config.listeners[0].headers == (("authorization", b"hunter2"), ("plain", b"b"))
    text = to_toml(loaded.config, loaded.sources)
    assert 'headers = "***"  # a.toml' in text
    assert "hunter2" not in text
    with pytest.raises(ConfigurationError, match="not shown") as caught:
        read(listener(f'key = {{ field = 1, delimiter = "{secret}" }}'), {})
    assert "hunter2" not in str(caught.value)


def test_tables_have_the_source_of_their_file() -> None:
    loaded = read(listener('headers = { plain = "b" }'), {})
    assert 'headers = { plain = "b" }  # a.toml' in to_toml(loaded.config, loaded.sources)
