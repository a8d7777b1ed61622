"""What all tests share: how hypothesis searches, and that a failure can be repeated."""

import logging
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.logging import LogCaptureHandler
from hypothesis import HealthCheck, settings

import ingestd

# Loops that read clocks are not under test here, but the machine may be busy: no deadline per example.
settings.register_profile("usual", deadline=None, print_blob=True)
settings.register_profile(
    "sample",
    deadline=None,
    print_blob=True,
    max_examples=15,
    stateful_step_count=20,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "thorough", deadline=None, print_blob=True, max_examples=2000, suppress_health_check=[HealthCheck.too_slow]
)
PROFILE = os.environ.get("INGESTD_HYPOTHESIS_PROFILE", "usual")
settings.load_profile(PROFILE)

SEED = int(os.environ.get("INGESTD_TEST_SEED") or random.randrange(1 << 32))


def pytest_configure(config: pytest.Config) -> None:
    """Gives hypothesis the seed of this run, unless its own option names one; checks what `make sanitize` says."""
    _check_sanitizers()
    # A shell starts its background jobs with SIGINT ignored, and Python then never raises KeyboardInterrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(SEED)


def _check_sanitizers() -> None:
    """``make sanitize`` says where its build is: a run that tests the usual build instead would find nothing."""
    wanted = os.environ.get("INGESTD_SANITIZED")
    if wanted is None:
        return
    if "libasan" not in Path("/proc/self/maps").read_text():
        raise pytest.UsageError("AddressSanitizer is not loaded")
    origin = Path(ingestd.__file__).resolve()
    if not origin.is_relative_to(Path(wanted).resolve()):
        raise pytest.UsageError(f"{origin} is tested, not the build in {wanted}")


def pytest_report_header() -> str:
    """The line that lets a run be repeated."""
    return f"INGESTD_TEST_SEED={SEED} INGESTD_HYPOTHESIS_PROFILE={PROFILE}"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A number for the test's own random choices: of this run and this test, printed in the header and repeatable."""
    return random.Random(f"{SEED} {request.node.nodeid}").randrange(1 << 32)


@pytest.fixture(autouse=True)
def _logging_is_left_as_it_was() -> Iterator[None]:
    """A command that a test runs in this process sets up logging for all of it: the next test must not hear of that."""
    root = logging.getLogger()
    level = root.level
    yield
    for handler in root.handlers[:]:
        if not isinstance(handler, LogCaptureHandler):
            root.removeHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def no_threads() -> Iterator[Callable[[], object]]:
    """Once called, this process can start no thread until the test's end: no host has room for such a stack."""
    before = threading.stack_size()
    yield lambda: threading.stack_size(1 << 46)
    threading.stack_size(before)
