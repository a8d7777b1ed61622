"""Configurations, commands and names in the documents: what they show is taken, what they name is there.

What they tell a reader to run is run by ``tests/kafka/test_readme.py`` and ``test_library.py``.
"""

import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ingestd import producer as library
from ingestd.cli import main as command_line
from ingestd.client import Producer
from ingestd.config.settings import DAEMON, LISTENER, NO_FIELD, OWN_DEFAULTS, PRODUCER, TOPIC
from ingestd.config.settings_ignored import PRODUCER_IGNORED
from ingestd.config.settings_refused import PRODUCER_FOREIGN, PRODUCER_NOT_YET
from tests.documents import DOCUMENTS, ROOT, Step, blocks_of, commands_in, spans_in, steps_of

CONFIGURATIONS = [
    pytest.param(path.name, block.text, id=f"{path.name}-{number}")
    for path in DOCUMENTS
    for number, block in enumerate(blocks_of(path.read_text()), 1)
    if block.language == "toml"
]
# What a reader has beside a fragment.
REST = """[producer]
bootstrap.servers = ["kafka-9:9092"]
[[listeners]]
name = "rest"
listen = "udp:127.0.0.1:5514"
format = "raw"
topic = "orders"
"""
README = (ROOT / "README.md").read_text()
CREDENTIALS = ("client-secret", "kafka-password", "key-password")
PROPERTIES = "/etc/orders/producer.properties"
TABLES = {"daemon": DAEMON, "producer": PRODUCER, "topics": TOPIC, "listeners": LISTENER}
OURS = {
    *(name for table in TABLES.values() for name in table),
    *PRODUCER_IGNORED,
    *PRODUCER_FOREIGN,
    *PRODUCER_NOT_YET,
}
# Settings of brokers, topics and of other programs that the documents speak of. A name that is neither here nor among
# ours is misspelt, or to be added.
THEIRS = {
    "advertised.listeners",
    "cleanup.policy",
    "connection.failed.authentication.delay.ms",
    "connections.max.reauth.ms",
    "group.id",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.difference.max.ms",
    "message.timestamp.type",
    "min.insync.replicas",
    "producer.id.expiration.check.interval.ms",
    "producer.id.expiration.ms",
    "replica.lag.time.max.ms",
    "sasl.oauthbearer.jwt.validator.class",
    "schema.registry.url",
    "segment.bytes",
    "socket.request.max.bytes",
    "unclean.leader.election.enable",
}
NO_SETTING = re.compile(r"(ingestd\.|.*\.(d|conf|pem|py|pyx|pxd|md|properties)$|error\.)")
# What the books say: it looks like an assignment.
IDENTITIES = ("received = ", "accepted = ")
NOT_RUN = {
    "systemctl daemon-reload": "changes the host",
    "systemctl enable --now": "changes the host",
    "systemctl disable --now": "changes the host",
}


@pytest.mark.parametrize(("page", "block"), CONFIGURATIONS)
def test_a_configuration_is_one_that_check_takes(tmp_path: Path, page: str, block: str) -> None:
    for name in CREDENTIALS:
        (tmp_path / name).write_text("hunter2\n")
        (tmp_path / name).chmod(0o600)
    properties = tmp_path / "producer.properties"
    properties.write_text("bootstrap.servers=kafka-1:9092\nlinger.ms=7\nbuffer.memory=33554432\n")
    rest, own = tmp_path / "rest.toml", tmp_path / "own.toml"
    rest.write_text(REST)
    own.write_text(block.replace(PROPERTIES, str(properties)))
    said = subprocess.run(
        [sys.executable, "-m", "ingestd", "check", "-c", str(rest), "-c", str(own), "--print"],
        env={**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path), "PYTHONPATH": f"{ROOT}:{ROOT / 'examples'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 0, f"{page}:\n{block}\n{said.stderr}"
    assert "hunter2" not in said.stdout + said.stderr
    in_force = [re.sub(r"\s+# ", " # ", line) for line in said.stdout.splitlines()]
    for line in own.read_text().splitlines():
        # What is written is in force from there, and what stands beside it says so.
        if (found := re.match(r"([a-z_.]+) = ", line)) and found[1] not in NO_FIELD:
            assert any(known.startswith(f"{found[1]} = ") and f"# {own}" in known for known in in_force), line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_settings_that_are_named_exist_and_take_what_is_written(document: Path) -> None:
    for span in spans_in(document.read_text()):
        if found := re.fullmatch(r"(?:\[+[\w.]+\]+ )?([a-z][a-z_.]*) = (.+)", span):
            name, value = found[1], found[2]
            if span.startswith(IDENTITIES) or name in THEIRS:
                continue
            kinds = [table[name].kind for table in TABLES.values() if name in table]
            assert kinds, f"{name} is no setting"
            if value != "N" and "${" not in value:
                kinds[0].read(tomllib.loads(f"value = {value}")["value"])
        elif re.fullmatch(r"[a-z]+(\.[a-z]+)+", span) and not NO_SETTING.match(span):
            assert span in OURS | THEIRS, f"{span} is no setting"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_that_are_named_exist(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = {step.text for step in steps_of(document.read_text())}
    for command in commands_in(document.read_text()):
        words = [word for word in command.split() if "=" not in word]
        if command in run or command in NOT_RUN:
            continue
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:.*##", (ROOT / "Makefile").read_text(), re.M), command
            continue
        assert words[0] == "ingestd", f"nobody looks at: {command}"
        with pytest.raises(SystemExit) as ended:
            command_line.main([words[1], "--help"])
        assert ended.value.code == 0, command
        usage = capsys.readouterr().out
        assert all(re.search(rf"{word}(?![\w-])", usage) for word in words[2:] if word.startswith("-")), command


def test_the_arguments_of_the_client_are_those_of_its_page() -> None:
    [table] = re.findall(r"^## Settings\n\n(.*?)\n\n", (ROOT / "docs/client.md").read_text(), re.M | re.S)
    rows = [row.strip("| ").split(" | ") for row in table.splitlines()[2:]]
    told = {", ".join(re.findall(r"`(\w+)`", row[0])): row[1] for row in rows}
    parameters = inspect.signature(Producer).parameters
    assert ", ".join(told) == ", ".join(parameters)
    for names, default in told.items():
        numbers = [str(parameters[name].default) for name in names.split(", ")]
        assert default == ", ".join(numbers) or not any(number.isdigit() for number in numbers), names


def test_the_readme_names_every_default_that_is_not_kafkas() -> None:
    [table] = re.findall(r"^\| setting \| default \| Kafka's \| why \|\n(.*?)\n\n", README, re.M | re.S)
    told = {
        name: (row[1].strip(' `"'), row[2].strip(" `"))
        for row in (line.strip("|").split("|") for line in table.splitlines()[1:])
        for name in re.findall(r"`([^`]+)`", row[0])
    }
    assert told.keys() == OWN_DEFAULTS.keys()
    for name, (ours, theirs) in told.items():
        for text, value in ((ours, PRODUCER[name].default), (theirs, OWN_DEFAULTS[name])):
            assert text.split()[0] == str(value) or not isinstance(value, int), name


def test_the_figures_of_the_library_are_those_of_its_page() -> None:
    [text] = re.findall(r"^## Figures\n\n(.*?)\n\n", (ROOT / "docs/library.md").read_text(), re.M | re.S)
    with library.Producer({"bootstrap.servers": "127.0.0.1:1"}) as producer:
        assert {span for span in spans_in(text) if "(" not in span} == producer.metrics().keys()


def test_a_block_that_nobody_runs_is_found() -> None:
    for text in ("```sh\nls\n```\n", "```\n$ ls\n```\n"):
        with pytest.raises(AssertionError, match=r"nobody runs|no ```console"):
            list(blocks_of(text))


def test_steps_are_found_in_their_order() -> None:
    text = '`make -x`\n```console\n$ a | b\noutput\n```\n```python\nc\n```\nsay `python -c "d"`, `ingestd run`\n'
    steps = [Step(False, "make -x"), Step(False, "a | b"), Step(True, "c\n"), Step(False, 'python -c "d"')]
    assert list(steps_of(text)) == steps
    assert list(commands_in(text)) == ["make -x", 'python -c "d"', "ingestd run"]
