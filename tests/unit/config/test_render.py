"""What is in force, written as a file, reads as the same configuration."""

from dataclasses import dataclass

import pytest

from ingestd.config.reader import parse
from ingestd.config.render import to_toml
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
