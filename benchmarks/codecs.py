"""``python -m benchmarks.codecs``: libraries and levels by codec, on real batches of log lines, in this process.

CPU seconds per million records, compressed size as a share of the plain one, and whether the library lets other threads
of Python run while it works. Libraries that ingestd does not use are measured where they are installed; to compare:
``pip install isal zlib-ng``. ``--small`` shows batches of few records instead.
"""

import argparse
import importlib
import statistics
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import cramjam
import lz4.frame  # type: ignore[import-untyped]

from benchmarks.programs import Generator
from benchmarks.record_path import NOW_MS, TOPIC, open_path
from ingestd.producer.compression import GZIP, LZ4, SNAPPY, ZSTD, Codec, default_codec, encode

Coder = Callable[[memoryview], Any]
OVERHEAD_BYTES: Final = 61
GZIP_WINDOW: Final = 31
LONG_BYTES: Final = 32 << 20
"""What is compressed in one call to see whether other threads stand meanwhile."""
SWITCH_S: Final = 0.0005
OURS: Final = {
    "gzip": (GZIP, (1, 3, 6, 9)),
    "snappy": (SNAPPY, (0,)),
    "lz4": (LZ4, (9, 3, 12)),
    "zstd": (ZSTD, (-5, 1, 3, 6, 9)),
}


class Candidate(NamedTuple):
    """A library with one of its levels."""

    codec: str
    library: str
    level: int
    coder: Coder


def _ours(codec: Codec) -> Coder:
    return lambda plain: encode(codec, plain)


def _zlib_like(module: Any, level: int) -> Coder:
    return lambda plain: module.compress(plain, level, GZIP_WINDOW)


def _candidates() -> Iterator[Candidate]:
    for codec, (number, levels) in OURS.items():
        for level in levels:
            yield Candidate(codec, "ingestd", level, _ours(Codec(number, level)))
    for level in (1, 3, 6, 9):
        yield Candidate("gzip", "zlib (standard library)", level, _zlib_like(zlib, level))
    for name, package, levels in (
        ("zlib_ng.zlib_ng", "zlib-ng", (1, 3, 6, 9)),
        ("isal.isal_zlib", "isal", (0, 1, 2, 3)),
    ):
        try:
            module = importlib.import_module(name)
        except ImportError:
            print(f"{package} is not installed: left out", file=sys.stderr)
            continue
        for level in levels:
            yield Candidate("gzip", package, level, _zlib_like(module, level))
    yield Candidate("gzip", "cramjam", 6, lambda plain: cramjam.gzip.compress(plain, level=6))
    for level in (0, 9):
        yield Candidate("lz4", "lz4, 64 KiB blocks", level, _lz4_small_blocks(level))
    yield Candidate("lz4", "cramjam", 4, _cramjam_lz4)
    for level in (1, 3):
        yield Candidate("zstd", "cramjam", level, _cramjam_zstd(level))


def _lz4_small_blocks(level: int) -> Coder:
    return lambda plain: lz4.frame.compress(plain, compression_level=level, block_linked=False, store_size=False)


def _cramjam_lz4(plain: memoryview) -> Any:
    coder = cramjam.lz4.Compressor(level=4, content_checksum=False, block_linked=False)
    coder.compress(bytes(plain))
    return coder.finish()


def _cramjam_zstd(level: int) -> Coder:
    return lambda plain: cramjam.zstd.compress(plain, level=level)


def record_areas(batch_bytes: int, records: int) -> tuple[list[bytes], int]:
    """What would be compressed: the records of batches of about ``batch_bytes``, and how many records are in them."""
    path = open_path(1, batch_bytes)
    with tempfile.TemporaryDirectory(prefix="ingestd-bench-") as folder:
        file = Path(folder) / "frames"
        Generator("frames", "-", records=records, per_frame=100, topic=TOPIC, log=True, write=str(file)).wait()
        frames = file.read_bytes()
    areas, count = [], 0
    at = 4 + int.from_bytes(frames[:4], "little")  # behind the frame that names the topic, which the path knows
    while at < len(frames):
        _, taken = path.stream.feed(frames[at : at + (128 << 10)], NOW_MS, 0)
        assert taken, "the record path takes what it is fed"
        at += taken
        for batch in path.arena.take_sealed():
            with path.arena.view(batch.entry) as view:
                areas.append(bytes(view[OVERHEAD_BYTES:]))
            count += batch.record_count
            path.arena.stamp(batch.entry, 1, 0, 0, 0, NOW_MS)
            path.arena.done(batch.entry)
    return areas, count


def _cost(coder: Coder, areas: Sequence[bytes], repetitions: int) -> tuple[float, int]:
    """CPU seconds for all areas, the median of some goes, and their compressed bytes."""
    found, size = [], 0
    for _ in range(repetitions):
        before_ns = time.process_time_ns()
        size = sum(len(coder(memoryview(area))) for area in areas)
        found.append((time.process_time_ns() - before_ns) / 1e9)
    return statistics.median(found), size


def _standstill_share(coder: Coder, areas: Sequence[bytes]) -> float:
    """The longest that this thread stands while another compresses for long, as a share of that time."""
    block = b"".join(areas)
    big = memoryview(block * (LONG_BYTES // len(block) + 1))
    took_s: list[float] = []

    def work() -> None:
        before_s = time.monotonic()
        coder(big)
        took_s.append(time.monotonic() - before_s)

    thread = threading.Thread(target=work)
    longest_s, last_s = 0.0, time.monotonic()
    thread.start()
    while not took_s:
        now_s = time.monotonic()
        longest_s, last_s = max(longest_s, now_s - last_s), now_s
    thread.join()
    return longest_s / took_s[0]


def main() -> int:
    """See the module's text."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.codecs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch-bytes", type=int, default=131_072, help="(default %(default)s)")
    parser.add_argument("--records", type=int, default=30_000, help="(default %(default)s)")
    parser.add_argument("--repetitions", type=int, default=3, help="(default %(default)s)")
    parser.add_argument("--small", action="store_true", help="batches of 1 to 30 records, ingestd's codecs only")
    arguments = parser.parse_args()
    if arguments.small:
        _print_small()
        return 0
    areas, count = record_areas(arguments.batch_bytes, arguments.records)
    plain = sum(map(len, areas))
    print(f"{len(areas)} batches of {plain / len(areas):,.0f} bytes and {count / len(areas):,.0f} records")
    print(
        f"{'codec':<8}{'library':<26}{'level':>6}  {'CPU-s per million':>18}  {'ratio':>6}  {'MB/s':>6}  other threads"
    )
    sys.setswitchinterval(SWITCH_S)
    for found in sorted(_candidates(), key=lambda candidate: (candidate.codec, candidate.library != "ingestd")):
        cost_s, size = _cost(found.coder, areas, arguments.repetitions)
        share = _standstill_share(found.coder, areas)
        print(
            f"{found.codec:<8}{found.library:<26}{found.level:>6}  {cost_s / count * 1e6:>18.3f}  {size / plain:>6.3f}"
            f"  {plain / cost_s / 1e6:>6.0f}  {'run' if share < 0.5 else 'STAND'} ({share:.0%})"
        )
    return 0


def _print_small() -> None:
    """What few records give: bytes saved and microseconds spent per batch."""
    print(f"{'records':>8}{'bytes':>8}  " + "".join(f"{codec + ' %/us':>16}" for codec in OURS))
    whole, count = record_areas(131_072, 30_000)
    record_bytes = sum(map(len, whole)) // count
    for records in (1, 2, 3, 5, 10, 30):
        areas = [area[: records * record_bytes] for area in whole]
        plain = sum(map(len, areas))
        shown = []
        for number, _ in OURS.values():
            cost_s, size = _cost(_ours(default_codec(number)), areas, 5)
            shown.append(f"{size / plain:>9.0%} {cost_s / len(areas) * 1e6:>5.1f}")
        print(f"{records:>8}{plain // len(areas):>8}  " + " ".join(shown))


if __name__ == "__main__":
    sys.exit(main())
