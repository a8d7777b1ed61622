"""`check --live` against brokers that a real one cannot be made to be: silent, of few words, or gone in the middle."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ingestd.cli import main as command_line
from ingestd.config.model import Config
from ingestd.config.reader import parse
from ingestd.errors import ExitStatus
from ingestd.live import ask as asking
from ingestd.live.judge import judge
from ingestd.live.view import View
from tests.fakes.broker import CLOSE, INIT_PRODUCER_ID, METADATA, SILENCE, FakeCluster, identity_refused

CLOSED = "no metadata: closed by the broker at the first request. If its listener wants a login, set security.protocol"


def configuration(bootstrap: tuple[str, ...], settings: str = "") -> Config:
    seeds = ", ".join(f'"{seed}"' for seed in bootstrap)
    listener = '[[listeners]]\nname = "l"\nlisten = "udp:127.0.0.1:1"\nformat = "raw"\ntopic = "t"\n'
    return parse(f"[producer]\nbootstrap.servers = [{seeds}]\n{settings}\n{listener}")


def seen(cluster: FakeCluster, settings: str = "") -> tuple[View, list[str]]:
    """What is seen of ``cluster``, and what is said of it."""

    async def scenario() -> tuple[View, list[str]]:
        async with cluster:
            config = configuration(cluster.bootstrap, settings)
            view = await asyncio.to_thread(asking.ask, config)
            return view, [str(finding) for finding in judge(config, view)]

    return asyncio.run(scenario())


def test_a_broker_that_tells_no_settings_is_judged_by_the_rest() -> None:
    view, said = seen(FakeCluster(topics={"t": 3}))
    assert (view.reachable, len(view.topics["t"].leaders), view.identity_error) == (True, 3, "")
    assert view.topic_settings == {}
    assert any("brokers' settings are not told" in text for text in said), said
    assert any("topic t: its settings are not told" in text for text in said), said


def test_a_topic_is_not_made_by_being_asked_for() -> None:
    cluster = FakeCluster(topics={"other": 1})
    _, said = seen(cluster)
    assert any(text.startswith("fails: topic t: not there") for text in said), said
    assert "t" not in cluster.topics


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (CLOSE, "no metadata: closed by the broker at the first request. If its listener wants a login, set"),
        (SILENCE, "no metadata: no answer"),
    ],
)
def test_the_next_server_is_asked_where_one_does_not_answer(
    answer: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ANSWER_SECONDS_MAX", 0.3)
    cluster = FakeCluster(nodes=2, topics={"t": 1})
    cluster.brokers[1].control(METADATA, lambda _: answer, times=9)
    view, said = seen(cluster)
    assert view.reachable
    assert view.seeds[0].error.startswith(reason)
    assert not view.seeds[1].error
    assert any("bootstrap.servers" in text and "no metadata" in text for text in said), said


def test_where_nobody_answers_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ANSWER_SECONDS_MAX", 0.3)
    cluster = FakeCluster(topics={"t": 1})
    cluster.brokers[1].control(METADATA, lambda _: CLOSE, times=9)
    view, said = seen(cluster)
    assert (view.reachable, said) == (False, [])


def test_no_producer_id_for_this_principal_is_found() -> None:
    cluster = FakeCluster(topics={"t": 1})
    cluster.brokers[1].control(INIT_PRODUCER_ID, identity_refused, times=99)
    _, said = seen(cluster)
    assert any(text.startswith("fails: enable.idempotence: no producer id: CLUSTER_AUTH") for text in said), said
    cluster = FakeCluster(topics={"t": 1})
    cluster.brokers[1].control(INIT_PRODUCER_ID, identity_refused, times=99)
    _, said = seen(cluster, "enable.idempotence = false")
    assert not any("producer id:" in text for text in said)


def test_notes_of_the_configuration_are_told_before_the_cluster_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ingestd.toml"
    file.write_text(
        '[producer]\nbootstrap.servers = ["127.0.0.1:1"]\n'
        '[[listeners]]\nname = "l"\nlisten = "udp:0.0.0.0:5514"\nformat = "raw"\ntopic = "t"\n'
    )
    for words, note in (([], "note: l: anybody"), (["--print"], "\n# note: l: anybody")):
        assert command_line.main(["check", "-c", str(file), "--live", *words]) == ExitStatus.CANNOT_START_NOW
        printed = capsys.readouterr().out
        assert -1 < printed.find(note) < printed.find("127.0.0.1:1: ")
