"""What the operator is told though it is no fault, and how large a record may be."""

from ingestd.config.checks import notes, record_bytes_max
from ingestd.config.reader import parse

BASE = '[producer]\nbootstrap.servers = ["k:1"]\n'
LISTENER = '[[listeners]]\nname = "l"\nlisten = "{}"\nformat = "raw"\ntopic = "t"\n'


def notes_of(listen: str, producer: str = "", daemon: str = "", listener: str = "") -> list[str]:
    return notes(parse(f"{daemon}\n{BASE}{producer}\n{LISTENER.format(listen)}{listener}"))


def test_a_careful_configuration_has_no_notes() -> None:
    for listen in ("udp:127.0.0.1:5514", "udp:[::1]:5514", "udp:localhost:5514"):
        assert notes_of(listen) == []
    assert notes_of("unix-datagram:/run/l", listener='when_full = "shed_newest"\n') == []


def test_weaker_promises_are_named() -> None:
    listen = "udp:127.0.0.1:5514"
    assert "voids the promises" in notes_of(listen, "acks = 0\nenable.idempotence = false\n")[0]
    assert "twice" in notes_of(listen, "enable.idempotence = false\n")[0]
    assert "dies with its worker" in notes_of(listen, daemon='[daemon]\ndurability = "memory"\n')[0]


def test_open_udp_and_blocking_datagrams_are_named() -> None:
    assert "anybody" in notes_of("udp:0.0.0.0:5514")[0]
    assert "anybody" in notes_of("udp:gateway:5514")[0]
    assert "hang" in notes_of("unix-datagram:/run/l")[0]


def test_a_record_must_fit_a_request_of_its_own() -> None:
    assert record_bytes_max(1_048_576) == 1_048_576 - 61 - 21
    assert record_bytes_max(10) == 1


def test_a_level_for_a_codec_that_no_topic_uses_is_named() -> None:
    listen = "udp:127.0.0.1:5514"
    level = "compression.gzip.level = 9\n"
    assert notes_of(listen, f'compression.type = "gzip"\n{level}') == []
    assert notes_of(listen, f'{level}[topics.t]\ncompression.type = "gzip"\n') == []
    assert "no effect" in notes_of(listen, f'compression.type = "zstd"\n{level}')[0]
    assert "no effect" in notes_of(listen, f'compression.type = "zstd"\n[topics.t]\n{level}')[0]
