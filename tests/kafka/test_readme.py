"""What a newcomer does: every command and program of the documents runs, and what was sent is in Kafka.

The commands are taken from the texts. They are run in a copy of configs/ and examples/ with other places: the broker
is the test's, what would be in /tmp or /run is in a folder of the test's. The broker is one as it comes: it creates
topics when they are asked for. docs/library.md needs no daemon: ``test_library.py`` runs it. What would run for minutes
is only looked at: those few have ``Newcomer.make``, ``install``, ``benchmark`` and ``NOT_TO_BE_TYPED`` below.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from ingestd import __version__
from ingestd.producer.network.pkcs12 import unpack
from tests.documents import DOCUMENTS, ROOT, Step, steps_of
from tests.kafka.cluster import Cluster
from tests.kafka.daemon import free_udp_port
from tests.kafka.processes import free_ports, spawn, tail
from tests.kafka.reader import read_topic

WITHOUT_DAEMON: Final = "library.md"
WITH_PROGRAMS: Final = {"README.md", "client.md"}
COMMAND_SECONDS_MAX: Final = 60.0
READY_SECONDS_MAX: Final = 15.0
SETTLED_SECONDS_MAX: Final = 30.0
STOP_SECONDS_MAX: Final = 20.0

Records = Counter[tuple[bytes | None, bytes | None]]
FRANCE: Final = (b"Precision Products", b"France")
# What the programs send, by the file's name: topic, then how often which key and value.
SENT_BY: Final[dict[str, tuple[str, Records]]] = {
    "first_record.py": ("CustomerCountry", Counter({FRANCE: 3})),
    "asynchronous.py": ("clicks", Counter((b"user-%d" % (n % 1000), b"click %d" % n) for n in range(100_000))),
    "custom_serializer.py": (
        "customers",
        Counter({(b"Precision Products", b"\x00\x00\x00\x07\x00\x00\x00\x12Precision Products"): 1}),
    ),
}
LOGGER_TAG: Final = b"ingestd-example: "
TOPIC_OF_SHELL: Final = {"lines": "lines", "raw": "logs", "syslog": "logs", "udp": "readings"}


# What it sends to have a dead letter, and the bound of the topic that does not let it in.
REFUSED_TOPIC: Final = "customers"
REFUSED: Final = b"%500d" % 1
BOUND_BYTES: Final = 300
KAFKAS_BOUND_BYTES: Final = 1_048_588


class Newcomer:
    """Someone at a shell in the project's folder, with a broker. Failed assertions name the command and its output."""

    def __init__(self, folder: Path, bootstrap: str, bound_topic: Callable[[str, int], None]) -> None:
        """``bound_topic(name, bytes)`` sets its max.message.bytes."""
        self.log = folder / "daemon.log"
        self.sent: dict[str, Records] = {}
        self.failed = 0
        self._bound_topic = bound_topic
        self._folder = folder
        self._project = folder / "project"
        self._places = {
            "127.0.0.1:9092": bootstrap,
            "/tmp/ingestd-": f"{folder}/",
            "/run/ingestd/": f"{folder}/development/",
            "5514": str(free_udp_port()),
            "9464": str(free_ports(1)[0]),
        }
        self._daemon: subprocess.Popen[bytes] | None = None
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "INGESTD_LOG_LEVEL": "info",
        }
        # The sources without their compiled part, as in a fresh clone: what is installed must be run, and not these.
        shutil.copytree(
            ROOT / "ingestd", self._project / "ingestd", ignore=shutil.ignore_patterns("*.so", "__pycache__")
        )
        for source in (*ROOT.glob("configs/*"), *ROOT.glob("examples/*.*")):
            copy = self._project / source.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(self._elsewhere(source.read_text()))

    def _elsewhere(self, text: str) -> str:
        for place, other in self._places.items():
            text = text.replace(place, other)
        return text

    def do(self, step: Step) -> None:
        """Runs one step and checks what it says; one that nobody knows fails."""
        text = self._elsewhere(step.text)
        if step.is_program:
            self._say([sys.executable, "-c", text])
            count = len(re.findall(r"\bproducer\.send\(record\b", text))
            assert count >= 1, f"sends no record that this test knows:\n{text}"
            self._expect("CustomerCountry", Counter({FRANCE: count}))
            return
        for pattern, act in COMMANDS.items():
            if found := re.fullmatch(pattern, text):
                act(self, found)
                return
        pytest.fail(f"nobody knows how to test: {step.text}")

    def _say(self, command: list[str], folder: Path | None = None) -> str:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=folder or self._project,
            env=self._environment,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )
        assert ended.returncode == 0, f"{command} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def _shell(self, command: str) -> str:
        return self._say(["/bin/sh", "-c", command])

    def _expect(self, topic: str, records: Records) -> None:
        self.sent.setdefault(topic, Counter()).update(records)

    def make(self, found: re.Match[str]) -> None:
        """Would recurse or run for minutes: the target is there, and make can plan it."""
        target = found["target"]
        assert re.search(rf"^{target}:.*##", (ROOT / "Makefile").read_text(), re.M), f"no target {target}"
        plan = self._say(["make", "--no-print-directory", "-C", str(ROOT), "-n", target])
        assert plan.strip(), f"make {target} does nothing"

    def install(self, _: re.Match[str]) -> None:
        """Has happened, or no other command would be there."""
        assert shutil.which("ingestd", path=self._environment["PATH"]), (
            f"no command ingestd beside {sys.executable}: {sys.executable} -m pip install --no-deps -e {ROOT}"
        )

    def version(self, found: re.Match[str]) -> None:
        assert self._shell(found[0]) == f"ingestd {__version__}\n"

    def check_live(self, found: re.Match[str]) -> None:
        """A broker as it comes makes the topics that a daemon asks for; what this command asks makes none: a note."""
        said = self._shell(found[0]).splitlines()
        absent = re.compile(r"note: topics? .*\borders\b.*: not there: the cluster makes it")
        assert any(map(absent.match, said)), said
        assert said[-1].startswith("0 findings that will cost records"), said

    def check(self, found: re.Match[str]) -> None:
        said = self._shell(found[0])
        if found["print"]:
            in_force = tomllib.loads(said)
            written = tomllib.loads((self._project / found["file"]).read_text())
            assert [row["name"] for row in in_force["listeners"]] == [row["name"] for row in written["listeners"]]
        else:
            assert ": no faults\n" in said

    def run(self, found: re.Match[str]) -> None:
        """Goes on in the background, as in a terminal of its own."""
        command = ["/bin/sh", "-c", f"exec {found[0]}"]
        self._daemon = spawn(command, output=self.log, cwd=self._project, environment=self._environment)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while "ready: 1 worker, " not in self.log.read_text():
            assert self._daemon.poll() is None, f"the daemon ended with {self._daemon.returncode}"
            assert time.monotonic() < deadline, "the daemon does not say that it is ready"
            time.sleep(0.05)

    def status(self, found: re.Match[str]) -> None:
        said = self._shell(found[0])
        if found["json"]:
            assert json.loads(said)["status"] == "well", said
        else:
            assert said.splitlines()[-1] == "well", said

    def top(self, found: re.Match[str]) -> None:
        assert "delivered/s" in self._shell(found[0])

    def curl(self, found: re.Match[str]) -> None:
        said = self._shell(f"curl --silent --show-error --fail {found['address']}")
        assert {"metrics": "ingestd_delivered_records_total{", "healthz": "ok\n"}[found["page"]] in said

    def send(self, found: re.Match[str]) -> None:
        """Each record is answered with topic, partition and offset."""
        values = found["lines"].encode().decode("unicode_escape").encode().split()
        places = re.findall(rf"^{found['topic']}\t(\d+)\t(\d+)$", self._shell(found[0]), re.M)
        assert len(set(places)) == len(values) > 0, places
        self._expect(found["topic"], Counter((None, value) for value in values))

    def example(self, found: re.Match[str]) -> None:
        said = self._shell(found[0])
        assert "Exception" not in said, said
        assert "partition" in said, said
        self._expect(*SENT_BY[found["name"]])

    def shell_example(self, found: re.Match[str]) -> None:
        self._shell(found[0])
        values = found["lines"].encode().decode("unicode_escape").encode().split()
        self._expect(TOPIC_OF_SHELL[found["way"]], Counter((None, value) for value in values))

    def compile(self, found: re.Match[str]) -> None:
        """Without a warning."""
        assert self._shell(f"{found[0]} 2>&1") == ""
        assert Path(found["program"]).is_file()

    def compiled(self, found: re.Match[str]) -> None:
        """It says for each line where it is."""
        values = found["lines"].encode().decode("unicode_escape").encode().split()
        expected = "".join(rf"{number} delivered 0 \d+\n" for number in range(1, len(values) + 1))
        said = self._shell(found[0])
        assert re.fullmatch(expected, said), said
        self._expect(found["topic"], Counter((found["key"].encode(), value) for value in values))

    def errors(self, found: re.Match[str]) -> None:
        assert "└── ApiException" in self._shell(found[0])

    def dead_letter(self, found: re.Match[str]) -> None:
        """There is one to list, since the broker has refused a record; once it would take it, it is sent again."""
        if found["action"] == "list":
            self._have_one_refused()
        elif found["action"] == "replay":
            self._bound_topic(REFUSED_TOPIC, KAFKAS_BOUND_BYTES)
            self._expect(REFUSED_TOPIC, Counter({(None, REFUSED): 1}))
        says = {
            "list": rf"\d{{8}} +{REFUSED_TOPIC} +message_too_large +MESSAGE_TOO_LARGE +1 +1",
            "show": rf"{REFUSED_TOPIC}-0  message_too_large\n",
            "replay": r"1 delivered, 0 failed once more \(new letters\), 0 stay open",
        }
        said = self._shell(found[0])
        assert re.search(says[found["action"]], said), said

    def _have_one_refused(self) -> None:
        self._bound_topic(REFUSED_TOPIC, BOUND_BYTES)
        to = f"unix-stream:{self._folder}/development/app.sock"
        send = f"ingestd send --to {to} --topic {REFUSED_TOPIC} --ack delivered"
        assert self._shell(f"printf '{REFUSED.decode()}' | {{ {send} || test $? -eq 1; }}") == ""
        self.failed += 1

    def benchmark(self, found: re.Match[str]) -> None:
        """Would run for minutes: its module is there, and knows the stage or the option."""
        usage = self._say([sys.executable, "-m", found["module"], "--help"], ROOT)
        assert f"usage: python -m {found['module']} " in usage
        for word in found["words"].split():
            assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", usage), f"{word} is not in:\n{usage}"

    def keytool(self, found: re.Match[str]) -> None:
        """Makes of a JKS file a PKCS#12 file that the producer reads; the answers are those of whoever types it."""
        place = self._folder / "stores"
        place.mkdir()
        make = "keytool -genkeypair -keystore client.jks -storetype JKS -keyalg EC -dname CN=client"
        words = "-storepass 'some words' -keypass 'some words'"
        self._shell(f"cd {place} && {make} {words} 2>&1")
        answers = r"some words\n" * 3
        self._shell(f"cd {place} && printf '{answers}' | {found[0]} 2>&1")
        store = unpack((place / "client.p12").read_bytes(), "some words")
        assert b"PRIVATE KEY" in store.key and b"CERTIFICATE" in store.own

    def leave(self, found: re.Match[str]) -> None:
        """It is on the list of what is not for typing."""
        assert found[0] in NOT_TO_BE_TYPED

    def wait_settled(self) -> dict[str, Any]:
        """Waits until everything is delivered; returns the books."""
        deadline = time.monotonic() + SETTLED_SECONDS_MAX
        total = sum(records.total() for records in self.sent.values())
        while True:
            said = self._shell("ingestd status -c configs/development.toml --json || test $? -eq 1")
            books: dict[str, Any] = json.loads(said)["ledger"]
            if books["delivered"] >= total or time.monotonic() > deadline:
                return books
            time.sleep(0.1)

    def stop(self) -> int:
        """SIGTERM; returns the daemon's exit status."""
        assert self._daemon is not None, "README.md starts no daemon"
        self._daemon.terminate()
        return self._daemon.wait(STOP_SECONDS_MAX)

    def close(self) -> None:
        """Nothing is left running."""
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.kill()
            self._daemon.wait()

    def report(self) -> str:
        """The daemon's log."""
        return tail(self.log)


# Commands that stand in the texts to say what a program does by itself.
NOT_TO_BE_TYPED: Final = {"python -P -m ingestd.worker": "how the supervisor starts a worker"}
_LINES: Final = r"printf '(?P<lines>[^']+)' \| "
COMMANDS: Final[dict[str, Callable[[Newcomer, re.Match[str]], None]]] = {
    r"make (?P<target>[\w-]+)": Newcomer.make,
    r"pip install \.": Newcomer.install,
    r"ingestd --version": Newcomer.version,
    r"ingestd check -c (?P<file>configs/\w+\.toml)(?P<print> --print)?": Newcomer.check,
    r"ingestd check -c configs/\w+\.toml --live": Newcomer.check_live,
    r"ingestd run -c configs/development\.toml": Newcomer.run,
    rf"{_LINES}ingestd send --to unix-stream:\S+ --topic (?P<topic>\w+) --ack delivered": Newcomer.send,
    r"ingestd status -c configs/development\.toml(?P<json> --json)?": Newcomer.status,
    r"ingestd top -c configs/development\.toml --count 1": Newcomer.top,
    r"curl (?P<address>http://127\.0\.0\.1:\d+/(?P<page>\w+))": Newcomer.curl,
    r"INGESTD_ADDRESS=\S+ python examples/(?P<name>\w+\.py)": Newcomer.example,
    rf"{_LINES}sh examples/shell\.sh (?P<way>\w+)": Newcomer.shell_example,
    r"cc [-\w ]* -o (?P<program>\S+) examples/client\.c": Newcomer.compile,
    rf'{_LINES}/\S*/client /\S+ (?P<topic>\w+) "(?P<key>[^"]+)"': Newcomer.compiled,
    r"ingestd dead-letter (?P<action>list|show|replay) -c configs/development\.toml": Newcomer.dead_letter,
    r"python -m (?P<module>benchmarks(?:\.\w+)?)(?P<words>(?: [\w-]+)*)": Newcomer.benchmark,
    r"keytool -importkeystore -srckeystore client\.jks -destkeystore client\.p12 .*": Newcomer.keytool,
    "|".join(map(re.escape, NOT_TO_BE_TYPED)): Newcomer.leave,
    r'python -c "import ingestd\.client\.errors as e; print\(e\.__doc__\)"': Newcomer.errors,
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short name: a socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ingestd-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def stored(kafka: Cluster, topic: str) -> Records:
    """What is in the topic; what logger(1) puts in front of a line is taken off."""
    return Counter(
        (record.key, (record.value or b"").split(LOGGER_TAG)[-1]) for record in read_topic(kafka.direct, topic)
    )


@pytest.mark.timeout(300)
def test_every_command_of_the_documents(
    start_cluster: Callable[..., Cluster], folder: Path, watch: Callable[[Newcomer], None]
) -> None:
    kafka = start_cluster(properties={"auto.create.topics.enable": "true"})

    def bound_topic(name: str, size: int) -> None:
        kafka.configure_topic(name, max_message_bytes=str(size))

    newcomer = Newcomer(folder, kafka.bootstrap, bound_topic)
    watch(newcomer)
    try:
        for document in DOCUMENTS:
            steps = [] if document.name == WITHOUT_DAEMON else list(steps_of(document.read_text()))
            assert any(step.is_program for step in steps) == (document.name in WITH_PROGRAMS), document
            for step in steps:
                newcomer.do(step)
        books = newcomer.wait_settled()
        status = newcomer.stop()
    finally:
        newcomer.close()
    assert status == 0
    total = sum(records.total() for records in newcomer.sent.values())
    assert newcomer.failed == 1, "no document speaks of dead letters"
    assert (books["received"], books["accepted"], books["delivered"], books["balanced"]) == (
        total + newcomer.failed,
        total + newcomer.failed,
        total,
        True,
    )
    for topic, records in newcomer.sent.items():
        assert stored(kafka, topic) == records, topic


@pytest.mark.parametrize("command", ["ingestd frobnicate", "make demo && ls", "ingestd check -c other.toml", "ls"])
def test_a_command_that_nobody_knows_fails(folder: Path, command: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="nobody knows"):
        Newcomer(folder, "127.0.0.1:1", lambda *_: None).do(Step(False, command))


def test_a_target_that_is_not_in_the_makefile_fails(folder: Path) -> None:
    with pytest.raises(AssertionError, match="no target"):
        Newcomer(folder, "127.0.0.1:1", lambda *_: None).do(Step(False, "make coffee"))
