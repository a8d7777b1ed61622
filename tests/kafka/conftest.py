"""Fixtures with a real Apache Kafka; a failing test's report ends with what its nodes and daemons had logged."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.kafka.cluster import Cluster
from tests.kafka.daemon import Daemon, Setting

LOGS = pytest.StashKey[list["Reporting"]]()


class Reporting(Protocol):
    """Something whose last words belong into the report of a failure."""

    def report(self) -> str:
        """The last lines of its logs."""
        ...


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the logs of what the test watched to the report of its failure."""
    report = yield
    if report.failed:
        for watched in item.stash.get(LOGS, []):
            report.sections.append((type(watched).__name__, watched.report()))
    return report


@pytest.fixture
def watch(request: pytest.FixtureRequest) -> Callable[[Reporting], None]:
    """``watch(node_or_daemon)``: its logs are shown if this test fails."""
    watched: list[Reporting] = request.node.stash.setdefault(LOGS, [])
    return watched.append


@pytest.fixture(scope="session")
def _shared_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("kafka") / "shared")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def kafka(_shared_kafka: Cluster, watch: Callable[[Reporting], None]) -> Cluster:
    """One node for all tests that leave it running: give topics names of their own (``topic_name``)."""
    watch(_shared_kafka)
    return _shared_kafka


@pytest.fixture
def start_cluster(tmp_path: Path, watch: Callable[[Reporting], None]) -> Iterator[Callable[..., Cluster]]:
    """``start_cluster(nodes=1, **settings of Cluster)``: nodes of the test's own, which it may stop and kill."""
    with ExitStack() as stack:

        def start(nodes: int = 1, **settings: Any) -> Cluster:
            cluster = Cluster(tmp_path / "kafka", nodes, **settings)
            stack.callback(cluster.stop)
            watch(cluster)
            cluster.start()
            return cluster

        yield start


@pytest.fixture
def make_daemon(tmp_path: Path, watch: Callable[[Reporting], None]) -> Iterator[Callable[..., Daemon]]:
    """``make_daemon(bootstrap, listeners, **settings of Daemon)``: written, not started; ended behind the test."""
    with ExitStack() as stack:
        numbers = count(1)

        def make(bootstrap: str, listeners: Sequence[Mapping[str, Setting]], **settings: Any) -> Daemon:
            daemon = Daemon(tmp_path / f"daemon-{next(numbers)}", bootstrap, listeners, **settings)
            stack.callback(daemon.close)
            watch(daemon)
            return daemon

        yield make


_topic_numbers = count(1)


@pytest.fixture
def topic_name(request: pytest.FixtureRequest) -> str:
    """A topic name that no other test uses."""
    return f"{request.function.__name__[:60]}.{next(_topic_numbers)}"
