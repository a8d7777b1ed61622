"""Settings of ``[producer]`` about connections and metadata, in the order of ``configs/ingestd.toml``."""

from typing import Final

from ingestd.config import values as v
from ingestd.config.values import INT_MAX, LONG_MAX, Setting

_LONG: Final = v.integer(0, LONG_MAX)
_TIMEOUT: Final = v.integer(1, INT_MAX)
_BUFFER: Final = v.integer(-1, INT_MAX)

SETTINGS: Final = (
    Setting("reconnect.backoff.ms", _LONG, 50, "ms", "First pause before a broker is connected to again."),
    Setting(
        "reconnect.backoff.max.ms", _LONG, 1_000, "ms", "Longest such pause; alone, reconnect.backoff.ms sets both."
    ),
    Setting("socket.connection.setup.timeout.ms", _TIMEOUT, 10_000, "ms", "Raise it for satellite and mobile lines."),
    Setting("socket.connection.setup.timeout.max.ms", _TIMEOUT, 30_000, "ms", "Longest such limit after failures."),
    Setting("connections.max.idle.ms", _LONG, 540_000, "ms", "Keep it below the brokers' own (600000)."),
    Setting("metadata.max.age.ms", _LONG, 300_000, "ms", "Lower it to see new partitions sooner."),
    Setting(
        "metadata.max.idle.ms",
        v.integer(5_000, LONG_MAX),
        300_000,
        "ms",
        "How long a topic without records is still asked about; lower it with many quiet topics.",
    ),
    Setting(
        "metadata.recovery.strategy",
        v.choice("rebootstrap", "none"),
        "rebootstrap",
        "",
        "none: only brokers that were heard of are tried, never bootstrap.servers a second time.",
    ),
    Setting(
        "metadata.recovery.rebootstrap.trigger.ms",
        _LONG,
        300_000,
        "ms",
        "Lower it where a whole cluster may be replaced behind the same names.",
    ),
    Setting(
        "client.dns.lookup",
        v.choice("use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"),
        "use_all_dns_ips",
        "",
        "The other one takes bootstrap.servers for aliases, as some certificates need.",
    ),
    Setting("send.buffer.bytes", _BUFFER, -1, "bytes", "Set it to bound kernel memory; -1 leaves it to the kernel."),
    Setting(
        "receive.buffer.bytes", _BUFFER, 32_768, "bytes", "Answers are small: leave it; -1 leaves it to the kernel."
    ),
)
