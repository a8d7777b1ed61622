"""From the configuration to the record path's numbers."""

from pathlib import Path

from ingestd.config import load
from ingestd.worker.specs import listener_spec

CONFIG = """
[producer]
bootstrap.servers = ["127.0.0.1:9092"]

[[listeners]]
name = "app"
listen = "unix-stream:/run/app.sock"
format = "frames"
topics = ["orders", "clicks"]
timestamp_out_of_bounds = "refuse"
timestamp_past_ms = 60000
timestamp_future_ms = 1000

[[listeners]]
name = "devices"
listen = "udp:127.0.0.1:5514"
format = "lines"
topic = "readings"
key = { field = 2, delimiter = "\\t" }
headers = { host = "gw-7", empty = "" }
"""


def test_listeners_in_numbers(tmp_path: Path) -> None:
    path = tmp_path / "ingestd.toml"
    path.write_text(CONFIG)
    app, devices = load(path).listeners
    topics = {"orders": 4, "clicks": 5, "readings": 6}
    spec = listener_spec(0, app, topics)
    assert (spec.topic, spec.topics, spec.key, spec.timestamp, spec.timestamp_refuse) == (-1, (4, 5), 0, 1, True)
    assert (spec.timestamp_past_ms, spec.timestamp_future_ms) == (60_000, 1000)
    assert (spec.shed, spec.header_count) == (False, 0)
    assert spec.record_bytes_max == app.record_bytes_max + 82 == 1 << 20
    spec = listener_spec(1, devices, topics)
    assert (spec.index, spec.topic, spec.key, spec.key_field, spec.key_delimiter) == (1, 6, 2, 2, b"\t")
    assert (spec.headers, spec.header_count, spec.shed, spec.timestamp) == (
        b"\x08host\x08gw-7\x0aempty\x00",
        2,
        True,
        0,
    )
