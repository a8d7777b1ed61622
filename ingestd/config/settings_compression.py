"""Settings of ``[producer]`` and ``[topics.NAME]`` about compression, in the order of ``configs/ingestd.toml``."""

from typing import Final

from ingestd.config import values as v
from ingestd.config.faults import RefusedError
from ingestd.config.values import Kind, Setting

LZ4_FAST_LEVEL: Final = 9
"""Kafka's default for lz4 is its fast compressor, whatever the number says (``Lz4BlockOutputStream``)."""


def _gzip_level() -> Kind:
    """1 to 9, or -1 for the default; 0 would only store (``CompressionType.GZIP.levelValidator``)."""
    number = v.integer(1, 9)

    def read(value: object) -> object:
        if value == -1 and not isinstance(value, bool):
            return value
        try:
            return number.read(value)
        except RefusedError as refused:
            raise RefusedError(refused.text, f"{refused.cure}, or -1") from None

    return number._replace(valid=f"-1 or {number.valid}", read=read)


SETTINGS: Final = (
    Setting(
        "compression.type",
        v.choice("none", "gzip", "snappy", "lz4", "zstd"),
        "none",
        "",
        "lz4 or zstd where network or broker disk is dearer than CPU.",
    ),
    Setting("compression.gzip.level", _gzip_level(), -1, "", "Lower it for less CPU; -1 is level 6."),
    Setting(
        "compression.lz4.level",
        v.integer(1, 17),
        LZ4_FAST_LEVEL,
        "",
        "Another one than 9 takes the high-compression coder: smaller and far slower.",
    ),
    Setting(
        "compression.zstd.level",
        v.integer(-131_072, 22),
        3,
        "",
        "1 for less CPU; what 6 and more save is dear.",
    ),
)
