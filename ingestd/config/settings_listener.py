"""Settings of ``[[listeners]]``, in the order of ``configs/ingestd.toml``."""

from typing import Final

from ingestd.config import values as v
from ingestd.config.values import INT_MAX, LONG_MAX, REQUIRED, UNSET, Setting
from ingestd.limits import SHARDS_MAX

_LONG: Final = v.integer(0, LONG_MAX)

SETTINGS: Final = (
    Setting(
        "name",
        v.text(bytes_max=64),
        REQUIRED,
        "",
        "Appears in metrics and answers; FileDescriptorName in a socket unit.",
    ),
    Setting("listen", v.text(), REQUIRED, "", "unix-stream:PATH, unix-datagram:PATH or udp:HOST:PORT."),
    Setting(
        "format",
        v.choice("raw", "lines", "frames"),
        REQUIRED,
        "",
        "raw: a datagram is a record; lines; frames: native.",
    ),
    Setting("topic", v.text(), UNSET, "", "The topic of every record (raw, lines)."),
    Setting("topics", v.texts(), (), "", "The topics that senders may name (frames)."),
    Setting("key", v.anything(), "none", "", '"none", "sender", or { field = 1, delimiter = "\\t" } (raw, lines).'),
    Setting(
        "timestamp", v.choice("record", "arrival"), UNSET, "", "arrival replaces the time that a sender gives (frames)."
    ),
    Setting("timestamp_past_ms", _LONG, 604_800_000, "ms", "Raise it to send older data on."),
    Setting("timestamp_future_ms", _LONG, 3_000_000, "ms", "Keep it below the broker's bound of one hour."),
    Setting(
        "timestamp_out_of_bounds",
        v.choice("arrival", "refuse"),
        "arrival",
        "",
        "refuse: better no record than one with another time.",
    ),
    Setting("headers", v.anything(), {}, "", 'Static headers of every record, such as { host = "gateway-7" }.'),
    Setting(
        "when_full",
        v.choice("block", "shed_newest"),
        UNSET,
        "",
        "A blocked syslog-like socket hangs its writers. Over UDP the default is shed_newest.",
    ),
    Setting(
        "receive_buffer_bytes",
        v.integer(1, INT_MAX),
        UNSET,
        "bytes",
        "Raise it (and net.core.rmem_max) for bursts over UDP; the kernel does not use it for Unix sockets.",
    ),
    Setting("mode", v.socket_mode(), 0o660, "", "Permissions of the socket file; every writer needs write permission."),
    Setting("owner", v.text(bytes_max=64), UNSET, "", "User that the socket file is given to."),
    Setting("group", v.text(bytes_max=64), UNSET, "", "Group that the socket file is given to."),
    Setting(
        "shards", v.integer(1, SHARDS_MAX), 1, "paths", "Spreads a Unix datagram listener over PATH.0, PATH.1, ..."
    ),
    Setting(
        "connections_max", v.integer(1, 1_000_000), 4_096, "connections", "Per worker; file descriptors bound it too."
    ),
    Setting(
        "record_bytes_max",
        v.integer(1, INT_MAX),
        UNSET,
        "bytes",
        "Lower it to refuse large records that Kafka would take.",
    ),
)
