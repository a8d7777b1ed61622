"""The C programs of ``native/``: compiled on first use, started and read here."""

import hashlib
import json
import mmap
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

NATIVE: Final = Path(__file__).parent / "native"
CACHE: Final = Path(__file__).parent.parent / ".cache" / "benchmarks"
WAIT_S_MAX: Final = 120.0


class ProgramError(Exception):
    """A program could not be compiled, started, or did not do its work in time."""


def program(name: str) -> Path:
    """The compiled program; compiled again whenever a source file has changed."""
    sources = sorted([*NATIVE.glob("*.h"), NATIVE / f"{name}.c"])
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    target = CACHE / f"{name}-{digest}"
    if target.exists():
        return target
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        raise ProgramError("a C compiler is needed; on Debian and Ubuntu: sudo apt-get install gcc libc6-dev")
    CACHE.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(f".{os.getpid()}")
    command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(draft), str(NATIVE / f"{name}.c")]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    if outcome.returncode != 0:
        raise ProgramError(f"{' '.join(command)}:\n{outcome.stderr}")
    draft.rename(target)
    return target


def wait_until(condition: Any, what: str, seconds_max: float = WAIT_S_MAX) -> None:
    """Looks every 5 ms until ``condition()`` is true; ProgramError with ``what`` after ``seconds_max``."""
    deadline_s = time.monotonic() + seconds_max
    while not condition():
        if time.monotonic() > deadline_s:
            raise ProgramError(f"not within {seconds_max:.0f} s: {what}")
        time.sleep(0.005)


def _report(process: subprocess.Popen[str], name: str, seconds_max: float) -> dict[str, float]:
    try:
        said, _ = process.communicate(timeout=seconds_max)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise ProgramError(f"{name} did not end within {seconds_max:.0f} s") from None
    if process.returncode != 0:
        raise ProgramError(f"{name} ended with {process.returncode}")
    report: dict[str, float] = json.loads(said.splitlines()[-1])
    return report


class Generator:
    """A running generator."""

    def __init__(self, kind: str, address: str, *, records: int, **options: str | int | bool) -> None:
        """``options`` are those of generator.c, dashes as underscores; True is an option without a value."""
        arguments = [str(program("generator")), kind, address, "--records", str(records)]
        for option, value in options.items():
            arguments.append(f"--{option.replace('_', '-')}")
            if value is not True:
                arguments.append(str(value))
        self._process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def wait(self, seconds_max: float = WAIT_S_MAX) -> dict[str, float]:
        """Its report: records, bytes, rejected, elapsed_s, user_s, system_s."""
        return _report(self._process, "generator", seconds_max)

    def kill(self) -> None:
        """Ends it where it stands."""
        self._process.kill()
        self._process.communicate()


class Sink:
    """A running null sink and its counters, which are read without disturbing it."""

    _NAMES: Final = (
        "records",
        "batch_bytes",
        "batches",
        "requests",
        "bytes_read",
        "connections",
        "faults",
        "sequence_faults",
    )

    def __init__(self, process: subprocess.Popen[str], port: int, counters: Path) -> None:
        self._process = process
        self.port = port
        with counters.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 8 * len(self._NAMES), access=mmap.ACCESS_READ)

    @classmethod
    @contextmanager
    def run(
        cls,
        folder: Path,
        topics: Sequence[str] = (),
        *,
        port: int = 0,
        verify: bool = False,
        discard: bool = False,
        node: int = 1,
        nodes: Sequence[int] = (),
    ) -> Iterator[Self]:
        """A sink for ``topics`` (``name:partitions``) on a loopback port, as long as the block lasts.

        ``node``, ``nodes``: its number (from 1) among several that are one cluster, and the ports at which clients find
        them; partitions are led in turn.
        """
        counters = folder / f"counters-{time.monotonic_ns()}"
        arguments = [str(program("null_sink")), "--port", str(port), "--counters", str(counters)]
        for topic in topics:
            arguments += ["--topic", topic]
        if nodes:
            arguments += ["--node", str(node), "--nodes", ",".join(map(str, nodes))]
        arguments += ["--verify"] * verify + ["--discard"] * discard
        with subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                first = process.stdout.readline()
                if not first:
                    raise ProgramError("null_sink did not start")
                yield cls(process, json.loads(first)["port"], counters)
            finally:
                process.kill()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def counters(self) -> dict[str, int]:
        """What it has seen so far."""
        return dict(zip(self._NAMES, struct.unpack(f"<{len(self._NAMES)}Q", self._map[:]), strict=True))

    def wait_for(self, counter: str, value: int, seconds_max: float = WAIT_S_MAX) -> None:
        """Waits until ``counter`` has reached ``value``."""
        wait_until(lambda: self.counters()[counter] >= value, f"null sink: {counter} {value}", seconds_max)

    def stop(self) -> dict[str, float]:
        """Ends it; its totals and CPU time."""
        self._process.send_signal(signal.SIGTERM)
        return _report(self._process, "null_sink", 10.0)


class Relay:
    """A running bare relay: takes one connection on ``path``, ends when the peer has closed."""

    def __init__(self, path: Path, port: int) -> None:
        arguments = [str(program("relay")), str(path), "127.0.0.1", str(port)]
        self._process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        wait_until(path.exists, "relay listens", 10.0)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def wait(self, seconds_max: float = WAIT_S_MAX) -> dict[str, float]:
        """Its report: bytes, reads, elapsed_s, user_s, system_s."""
        return _report(self._process, "relay", seconds_max)


@contextmanager
def delay_proxy(port: int, target: int, delay_ms: int, window_bytes: int) -> Iterator[None]:
    """A line with a round trip of ``delay_ms`` from ``port`` to ``target``, with at most ``window_bytes`` under way.

    It is there as long as the block lasts.
    """
    arguments = [str(program("delay_proxy")), "--port", str(port), "--target", str(target)]
    arguments += ["--delay", str(delay_ms), "--window", str(window_bytes)]
    with subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise ProgramError("delay_proxy did not start")
            yield
        finally:
            process.kill()


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found
