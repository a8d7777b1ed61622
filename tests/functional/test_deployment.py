"""Deployment, proven where it cannot run: units by systemd-analyze, files by the command, the image by its steps."""

import configparser
import fnmatch
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd import config
from ingestd.cli.common import DEFAULT_CONFIGURATION

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
SOCKETS = sorted(UNITS.glob("*.socket"))
CONFIGURATIONS = sorted((ROOT / "configs").glob("*.toml"))
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXPOSURE_MAX = 15
"""Tenths of systemd's exposure level: 1.5 is what reliability asks for."""


def unit(path: Path) -> configparser.RawConfigParser:
    """A unit's settings; of those that are given twice, the last one."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read(path)
    return parser


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with a command that this machine has."""
    command = tmp_path / "ingestd"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    for path in UNITS.iterdir():
        text = path.read_text()
        (tmp_path / path.name).write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={command}", text, flags=re.MULTILINE))
    return tmp_path


def test_units_have_no_faults(units: Path) -> None:
    names = ["ingestd.service", *(path.name for path in SOCKETS)]
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(units / name) for name in names)],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in verified.stderr.splitlines() if "ingestd" in line]
    assert (verified.returncode, ours) == (0, [])


def test_the_service_exposes_little(units: Path) -> None:
    arguments = ["--offline=yes", f"--threshold={EXPOSURE_MAX}", "--no-pager"]
    analysed = subprocess.run(
        ["systemd-analyze", "security", *arguments, str(units / "ingestd.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert analysed.returncode == 0, analysed.stdout[-500:] + analysed.stderr


def calls_of(name: str) -> set[str]:
    """A set of system calls with all the sets in it, or a single one."""
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    names = [line.strip() for line in listed.stdout.splitlines()[1:]]
    return {call for one in names if one and not one.startswith("#") for call in calls_of(one)}


def test_the_service_may_give_sockets_away_and_mount_nothing() -> None:
    """The first line says what is allowed, the next ones take away and add, in their order (systemd.exec(5))."""
    allowed: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", (UNITS / "ingestd.service").read_text(), re.MULTILINE):
        named = {call for name in line.removeprefix("~").split() for call in calls_of(name)}
        allowed = allowed - named if line.startswith("~") else allowed | named
    assert {"lchown", "fchownat"} <= allowed, "what os.chown(follow_symlinks=False) calls"
    assert not {"mount", "setuid", "ptrace", "reboot"} & allowed


def test_the_service_starts_what_the_command_line_has_and_waits_for_its_drain() -> None:
    service = unit(UNITS / "ingestd.service")["Service"]
    assert service["ExecStart"].split()[1:] == ["run", "-c", DEFAULT_CONFIGURATION]
    assert service["RestartPreventExitStatus"] == "65 78"
    assert (service["Type"], service["KillMode"]) == ("notify", "mixed")
    stop_timeout_ms = config.load(ROOT / "configs/ingestd.toml").daemon.stop_timeout_ms
    assert int(service["TimeoutStopSec"]) * 1000 > stop_timeout_ms + 10_000


def test_the_end_of_the_service_leaves_arenas_in_shared_memory_alone() -> None:
    service = unit(UNITS / "ingestd.service")["Service"]
    assert (service["RemoveIPC"], service.get("DynamicUser", "no")) == ("no", "no")


@pytest.mark.parametrize("path", SOCKETS, ids=lambda path: path.name)
def test_a_socket_unit_is_a_listener_of_the_reference(path: Path) -> None:
    section = unit(path)["Socket"]
    listeners = {listener.name: listener for listener in config.load(ROOT / "configs/ingestd.toml").listeners}
    listener = listeners[section["FileDescriptorName"]]
    kind = {"unix-stream": "ListenStream", "unix-datagram": "ListenDatagram"}[listener.address.kind]
    assert section[kind] == listener.address.path
    assert section["Service"] == "ingestd.service"
    assert int(section["SocketMode"], 8) == listener.mode


def test_the_user_of_the_units_is_made() -> None:
    made = re.findall(r"^u (\S+)", (UNITS / "ingestd.sysusers.conf").read_text(), re.MULTILINE)
    service = unit(UNITS / "ingestd.service")["Service"]
    assert made == [service["User"]] == [service["Group"]]
    assert {unit(path)["Socket"]["SocketGroup"] for path in SOCKETS} == {service["Group"]}


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.name)
def test_every_configuration_passes_the_check(path: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "ingestd", "check", "-c", str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "no faults" in checked.stdout


def steps(stage: int) -> Iterator[tuple[str, str]]:
    """Instructions of a stage of the Dockerfile, continued lines joined."""
    joined = DOCKERFILE.replace("\\\n", " ")
    stages = re.split(r"^FROM .*\n", joined, flags=re.MULTILINE)[1:]
    for line in stages[stage].splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction and not instruction.startswith("#"):
            yield instruction, rest


def ignored() -> list[str]:
    return (ROOT / ".dockerignore").read_text().split()


def test_the_image_is_slim_and_does_not_run_as_root() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert bases[0].endswith("-slim")
    last = dict(steps(1))
    assert last["USER"] == "ingestd"
    assert last["ENTRYPOINT"] == '["ingestd"]'
    assert DEFAULT_CONFIGURATION in last["CMD"]
    assert "apt-get" not in " ".join(rest for _, rest in steps(1))


@pytest.mark.parametrize(("status", "healthy"), [(0, True), (1, True), (75, False), (78, False)])
def test_a_container_is_healthy_as_long_as_the_daemon_runs(tmp_path: Path, status: int, healthy: bool) -> None:
    check = re.search(r" CMD (.+)$", dict(steps(1))["HEALTHCHECK"])
    assert check is not None
    command = tmp_path / "ingestd"
    command.write_text(f"#!/bin/sh\nexit {status}\n")
    command.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert (subprocess.run(["sh", "-c", check[1]], env=path, check=False).returncode == 0) is healthy


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    for stage in (0, 1):
        for instruction, rest in steps(stage):
            if instruction == "COPY" and not rest.startswith("--from"):
                for source in rest.split()[:-1]:
                    assert (ROOT / source).exists(), source
                    assert any(
                        fnmatch.fnmatch(source.split("/")[0], entry[1:]) for entry in ignored() if entry[0] == "!"
                    )


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_the_images_steps_give_a_working_command(tmp_path: Path) -> None:
    """The build stage in fresh virtual environments: what needs root or another base is left out."""
    source = tmp_path / "source"
    source.mkdir()
    places = {"/opt/ingestd": str(tmp_path / "opt"), "/build": str(tmp_path / "build")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    leave_out = shutil.ignore_patterns("__pycache__", "*.so", "*.c")
    for instruction, rest in steps(0):
        if instruction == "COPY":
            *sources, target = rest.split()
            for name in sources:
                goal = source / (target if not target.endswith("/") else name)
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, goal, ignore=leave_out)
                else:
                    shutil.copy(ROOT / name, goal)
        elif instruction == "RUN" and "apt-get" not in rest:
            command = rest.replace("python3 ", f"{sys.executable} ", 1) if rest.startswith("python3") else rest
            for place, substitute in places.items():
                command = re.sub(rf"(?<![\w.]){place}\b", substitute, command)
            subprocess.run(command, shell=True, cwd=source, env=environment, check=True, stdout=subprocess.DEVNULL)
    ingestd = tmp_path / "opt/bin/ingestd"
    reference = str(ROOT / "configs/ingestd.toml")
    for arguments in (["--version"], ["check", "-c", reference]):
        subprocess.run([str(ingestd), *arguments], cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL)
    imports = "import ingestd.hotpath.intake, ingestd.hotpath.arena, ingestd.worker.worker"
    subprocess.run([str(tmp_path / "opt/bin/python"), "-c", imports], cwd=tmp_path, env=environment, check=True)
