"""Listeners: what each format and socket needs and refuses, and what two of them may not share."""

import pytest

from ingestd.config.checks import record_bytes_max
from ingestd.config.listeners import places_of
from ingestd.config.model import Config
from ingestd.config.reader import parse
from ingestd.errors import ConfigurationError, Fault
from ingestd.limits import FRAME_BYTES_MAX, FRAME_ENVELOPE_BYTES

STREAM = 'name = "a"\nlisten = "unix-stream:/run/i/a.sock"\nformat = "frames"\ntopics = ["t"]\n'
LINES = 'name = "l"\nlisten = "unix-stream:/run/i/l.sock"\nformat = "lines"\ntopic = "t"\n'
DATAGRAM = 'name = "d"\nlisten = "unix-datagram:/run/i/d.sock"\nformat = "raw"\ntopic = "t"\n'
UDP = 'name = "u"\nlisten = "udp:127.0.0.1:5514"\nformat = "lines"\ntopic = "t"\n'
LONG = "/run/" + "x" * 101


def read(*listeners: str, head: str = "") -> Config:
    sections = "".join(f"[[listeners]]\n{listener}" for listener in listeners)
    return parse(f'{head}\n[producer]\nbootstrap.servers = ["k:1"]\n{sections}')


def faults_of(*listeners: str, head: str = "") -> list[Fault]:
    with pytest.raises(ConfigurationError) as caught:
        read(*listeners, head=head)
    return caught.value.faults


@pytest.mark.parametrize(
    ("listener", "key", "part"),
    [
        (STREAM.replace("frames", "raw").replace('topics = ["t"]', 'topic = "t"'), "a.format", "no record boundaries"),
        (STREAM.replace("frames", "json"), "a.format", '"raw", "lines", "frames"'),
        (STREAM.replace('topics = ["t"]\n', ""), "a.topics", "allow-list"),
        (STREAM.replace('["t"]', "[]"), "a.topics", "allow-list"),
        (STREAM.replace('["t"]', '["t", "t"]'), "a.topics", "twice"),
        (STREAM.replace('["t"]', '["t", "__t"]'), "a.topics", "internal topic"),
        (STREAM + 'topic = "t"\n', "a.topic", "allow-list"),
        (STREAM + 'key = "none"\n', "a.key", "their own keys"),
        (STREAM + "shards = 2\n", "a.shards", "only Unix datagram"),
        (LINES.replace('topic = "t"\n', ""), "l.topic", 'Write topic = "..."'),
        (LINES + 'topics = ["t"]\n', "l.topics", "cannot name a topic"),
        (LINES.replace('topic = "t"', 'topic = "."'), "l.topic", "not a topic name"),
        (LINES.replace('topic = "t"', f'topic = "{"t" * 250}"'), "l.topic", "not a topic name"),
        (LINES + 'timestamp = "record"\n', "l.timestamp", 'timestamp = "arrival"'),
        (LINES + 'key = "host"\n', "l.key", '"sender"'),
        (LINES + 'key = { field = 0, delimiter = "," }\n', "l.key", "counted from 1"),
        (LINES + 'key = { field = 1, delimiter = "ab" }\n', "l.key", "one byte"),
        (LINES + 'key = { field = 1, delimiter = "ä" }\n', "l.key", "one byte"),
        (LINES + 'key = { field = 1, delimiter = "\\n" }\n', "l.key", "one byte"),
        (LINES + 'key = { field = 1, delimiter = ",", x = 1 }\n', "l.key", "unknown key"),
        (LINES + "headers = { n = 1 }\n", "l.headers", "no legal name or value"),
        (LINES + 'headers = "x"\n', "l.headers", "not a table"),
        (
            LINES + f"headers = {{ {', '.join(f'h{i} = {i!r}' for i in map(str, range(65)))} }}\n",
            "l.headers",
            "65 headers",
        ),
        (LINES + f'headers = {{ n = "{"x" * 65_536}" }}\n', "l.headers", "too large"),
        (LINES + 'when_full = "drop"\n', "l.when_full", '"block", "shed_newest"'),
        (LINES + "mode = 660\n", "l.mode", '"0660"'),
        (LINES + 'mode = "0888"\n', "l.mode", '"0660"'),
        (LINES + "record_bytes_max = 1048577\n", "l.record_bytes_max", "at most 1048494"),
        (LINES + "ower = 1\n", "l.ower", "Did you mean owner?"),
        (LINES.replace("unix-stream:", "unix:"), "l.listen", "unix-stream:/PATH"),
        (LINES.replace("/run/i/l.sock", "l.sock"), "l.listen", "absolute"),
        (LINES.replace("/run/i/l.sock", "/" + "x" * 107), "l.listen", "at most 107"),
        (LINES.replace('name = "l"', 'name = "a:b"'), "1.name", "letters, digits"),
        (LINES.replace('name = "l"\n', ""), "1.name", "missing"),
        (DATAGRAM + 'key = "sender"\n', "d.key", "does not tell its sender"),
        (DATAGRAM + "connections_max = 1\n", "d.connections_max", "no connections"),
        (DATAGRAM + "shards = 65\n", "d.shards", "from 1 to 64"),
        (DATAGRAM + "record_bytes_max = 1048495\n", "d.record_bytes_max", "at most 1048494"),
        (UDP + 'owner = "x"\n', "u.owner", "not a file"),
        (UDP + 'group = "x"\n', "u.group", "not a file"),
        (UDP + 'mode = "0600"\n', "u.mode", "not a file"),
        (UDP + "shards = 2\n", "u.shards", "every worker"),
        (UDP.replace("127.0.0.1", "::1"), "u.listen", "udp:[::1]:5514"),
        (UDP.replace("5514", "70000"), "u.listen", "no port"),
    ],
)
def test_a_fault_of_a_listener_is_told_with_its_cure(listener: str, key: str, part: str) -> None:
    found = faults_of(listener)
    assert [fault.key for fault in found] == [f"listeners.{key}"]
    assert part in str(found[0])
    assert found[0].cure


def test_there_must_be_a_listener() -> None:
    assert [fault.key for fault in faults_of()] == ["listeners"]
    with pytest.raises(ConfigurationError, match="no listener"):
        parse('listeners = []\n[producer]\nbootstrap.servers = ["k:1"]\n')


def test_frames_may_come_in_datagrams() -> None:
    listener = read(STREAM.replace("unix-stream", "unix-datagram")).listeners[0]
    assert (listener.format, listener.address.kind) == ("frames", "unix-datagram")


def test_records_are_bounded_by_the_request_and_by_a_frame() -> None:
    sizes = [listener.record_bytes_max for listener in read(STREAM, LINES, DATAGRAM, UDP).listeners]
    assert sizes == [record_bytes_max(1 << 20)] * 4
    large = "max.request.size = 4194304\n[[listeners]]\n"
    frames, lines = (parse(f'[producer]\nbootstrap.servers = ["k:1"]\n{large}{text}') for text in (STREAM, LINES))
    assert lines.listeners[0].record_bytes_max == record_bytes_max(4 << 20)
    assert frames.listeners[0].record_bytes_max == FRAME_BYTES_MAX - FRAME_ENVELOPE_BYTES
    small = "max.request.size = 2048\n"
    text = f'[producer]\nbootstrap.servers = ["k:1"]\n{small}batch.size = 2048\n[[listeners]]\n{DATAGRAM}'
    assert parse(text).listeners[0].record_bytes_max == record_bytes_max(2048) < 2048


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (LINES, LINES.replace('"l"', '"m"')),
        (LINES, DATAGRAM.replace("/run/i/d.sock", "/run/i/l.sock")),
        (UDP, UDP.replace('"u"', '"v"')),
        (STREAM, DATAGRAM.replace("/run/i/d.sock", "/run/i/a.sock.0")),
        (DATAGRAM + "shards = 2\n", LINES.replace("/run/i/l.sock", "/run/i/d.sock.1")),
    ],
)
def test_two_listeners_never_share_a_socket(first: str, second: str) -> None:
    found = faults_of(first, second)
    assert len(found) == 1
    assert found[0].key.endswith(".listen")
    assert "belongs to the listener" in found[0].text


def test_two_listeners_never_share_a_name() -> None:
    found = faults_of(LINES, DATAGRAM.replace('"d"', '"l"'))
    assert [(fault.key, fault.value) for fault in found] == [("listeners.l.name", '"l"')]


def test_a_path_must_be_short_enough_for_its_suffix() -> None:
    assert len(LONG) == 106
    assert read(LINES.replace("/run/i/l.sock", LONG)).listeners
    assert "suffix" in faults_of(STREAM.replace("/run/i/a.sock", LONG))[0].text
    assert "suffix" in faults_of((DATAGRAM + "shards = 2\n").replace("/run/i/d.sock", LONG))[0].text
    fits = STREAM.replace("/run/i/a.sock", LONG[:105])
    assert read(fits, head="[daemon]\nworkers = 10").listeners
    assert "108 bytes" in faults_of(fits, head="[daemon]\nworkers = 11")[0].text


def test_every_place_that_is_bound_is_known() -> None:
    stream, lines, datagram, udp = read(STREAM, LINES, DATAGRAM + "shards = 2\n", UDP).listeners
    assert places_of(stream, 2) == ["/run/i/a.sock", "/run/i/a.sock.0", "/run/i/a.sock.1"]
    assert places_of(lines, 2) == ["/run/i/l.sock"]
    assert places_of(datagram, 2) == ["/run/i/d.sock.0", "/run/i/d.sock.1"]
    assert places_of(udp, 2) == ["udp:127.0.0.1:5514"]
