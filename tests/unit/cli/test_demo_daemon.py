"""The demo's daemon: its configuration has no faults."""

from pathlib import Path

from ingestd import config
from ingestd.cli.demo_daemon import WORKERS, DemoDaemon


def test_the_configuration_is_good_and_stays_in_its_folder(tmp_path: Path) -> None:
    daemon = DemoDaemon(tmp_path, ["127.0.0.1:9092"], 5514)
    read = config.load(tmp_path / "ingestd.toml")
    assert read.daemon.workers == WORKERS
    assert read.daemon.state_directory == f"{tmp_path}/state"
    assert {listener.name: str(listener.address) for listener in read.listeners} == daemon.addresses
