"""Settings of ``[daemon]``, in the order of ``configs/ingestd.toml``."""

from typing import Final

from ingestd.config import admin_address
from ingestd.config import values as v
from ingestd.config.values import INT_MAX, UNSET, Setting
from ingestd.limits import WORKERS_MAX

SETTINGS: Final = (
    Setting(
        "workers",
        v.integer_or("auto", 1, WORKERS_MAX),
        1,
        "processes",
        'Raise it when one core is not enough, "auto" is one per core; memory grows with it.',
    ),
    Setting(
        "state.directory",
        v.text(),
        "/var/lib/ingestd",
        "",
        "Scoreboard, dead letters, quarantine; one daemon per directory.",
    ),
    Setting(
        "arena.directory",
        v.text(),
        UNSET,
        "",
        "Where the buffers are, by default the state directory; /dev/shm spares the disk and forgets at a reboot.",
    ),
    Setting(
        "durability",
        v.choice("process", "memory", later=("power",)),
        "process",
        "",
        "process: accepted records survive the death of every ingestd process; memory: they do not.",
    ),
    Setting(
        "stop.timeout.ms",
        v.integer(0, INT_MAX),
        30_000,
        "ms",
        "How long SIGTERM lets batches drain to Kafka; what is left stays in the arena. Keep it below TimeoutStopSec.",
    ),
    Setting(
        "pressure.high",
        v.share(),
        0.9,
        "",
        "Share of the arena in use, or of the host's memory, above which senders wait; halfway from there to"
        " full, shed_newest sheds.",
    ),
    Setting(
        "pressure.low", v.share(), 0.75, "", "Share below which they go on again; shedding ends below pressure.high."
    ),
    Setting(
        "admin.listen",
        admin_address.kind(),
        UNSET,
        "",
        "Set it to have /metrics, /healthz, /readyz and a status page over HTTP, from a process of their own.",
    ),
)
