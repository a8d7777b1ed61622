"""Settings of ``[daemon]`` about what goes wrong for good: records given up, and acknowledged ones that seem lost."""

from typing import Final

from ingestd.config import values as v
from ingestd.config.values import Setting

SETTINGS: Final = (
    Setting(
        "dead.letters.bytes.max",
        v.integer(0, 1 << 44),
        1_073_741_824,
        "bytes",
        "All dead letters together; the oldest days go first. What finds no room is lost, and counted.",
    ),
    Setting(
        "dead.letters.days.max",
        v.integer(1, 36_500),
        30,
        "days",
        "Raise it if more than a month may pass before somebody looks at them.",
    ),
    Setting(
        "data.loss.suspected",
        v.choice("continue", "stop"),
        "continue",
        "",
        "stop: the daemon ends, and waits for a person, when Kafka seems to have lost what it had acknowledged.",
    ),
)
