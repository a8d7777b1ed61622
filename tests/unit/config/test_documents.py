"""Several files laid over each other: later ones count, listeners add up, every value and fault knows its file."""

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd import config
from ingestd.config import reader
from ingestd.config.documents import Document, files_of, merged
from ingestd.config.render import to_toml
from ingestd.config.section import flattened
from ingestd.config.sources import Sources
from ingestd.errors import ConfigurationError, Fault

BASE = """
[daemon]
workers = 2
[producer]
bootstrap.servers = ["kafka-1:9092"]
linger.ms = 5
[topics.logs]
batch.size = 1000
[[listeners]]
name = "log"
listen = "unix-datagram:/run/i/log.sock"
format = "raw"
topic = "logs"
"""
APP = '[[listeners]]\nname = "app"\nlisten = "unix-stream:/run/i/app"\nformat = "frames"\ntopics = ["orders"]\n'


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write(tmp_path / "ingestd.toml", BASE)


def faults_of(*paths: Path) -> list[Fault]:
    with pytest.raises(ConfigurationError) as caught:
        config.load(*paths)
    return caught.value.faults


def test_later_files_override_setting_by_setting(base: Path) -> None:
    first = write(
        base.parent / "first.toml", '[producer]\n"linger.ms" = 6\nretries = 3\n[topics.logs]\nlinger.ms = 0\n'
    )
    second = write(base.parent / "second.toml", "[producer]\nlinger = { ms = 7 }\n" + APP)
    loaded = reader.load([base, first, second])
    read = loaded.config
    assert (read.daemon.workers, read.producer.linger_ms, read.producer.retries) == (2, 7, 3)
    assert (read.topics[0].batch_size, read.topics[0].linger_ms) == (1000, 0)
    assert [listener.name for listener in read.listeners] == ["log", "app"]
    places = {
        key: loaded.sources.exactly(key).place
        for key in ("daemon.workers", "producer.retries", "producer.linger.ms", "topics.logs.linger.ms")
    }
    assert places == {
        "daemon.workers": str(base),
        "producer.retries": str(first),
        "producer.linger.ms": str(second),
        "topics.logs.linger.ms": str(first),
    }
    assert loaded.sources.of("listeners.app.mode").place == str(second)


def test_drop_ins_are_read_behind_their_file_in_the_order_of_names(base: Path) -> None:
    write(base.parent / "conf.d/20-b.toml", "[producer]\nlinger.ms = 20\n")
    write(base.parent / "conf.d/10-a.toml", "[producer]\nlinger.ms = 10\nretries = 10\n")
    write(base.parent / "conf.d/notes.txt", "not TOML")
    read = config.load(base)
    assert (read.producer.linger_ms, read.producer.retries) == (20, 10)
    last = write(base.parent / "last.toml", "[producer]\nlinger.ms = 30\n")
    assert config.load(base, last).producer.linger_ms == 30
    assert [path.name for path in files_of([base, last])] == ["ingestd.toml", "10-a.toml", "20-b.toml", "last.toml"]


def test_a_drop_in_that_is_named_as_well_is_read_once_where_it_is_named(base: Path) -> None:
    drop_in = write(base.parent / "conf.d/10-app.toml", APP)
    assert files_of([base, drop_in]) == [base, drop_in]
    assert len(config.load(base, drop_in).listeners) == 2


def test_drop_ins_that_may_not_be_listed_are_a_fault(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop_ins = write(base.parent / "conf.d/10-a.toml", "[producer]\nlinger.ms = 10\n").parent
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path) == drop_ins:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    def refuse_list(path: Any) -> Any:
        return [entry.name for entry in refuse(path)]

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "listdir", refuse_list)
    [fault] = faults_of(base)
    assert (fault.key, fault.text) == (str(drop_ins), "cannot be read: Permission denied")


def test_a_file_named_like_the_folder_of_drop_ins_is_none(base: Path) -> None:
    write(base.parent / "conf.d", "")
    assert files_of([base]) == [base]


def test_faults_name_their_file(base: Path) -> None:
    first = write(base.parent / "first.toml", "[producer]\nlinger.ms = -1\n[topics.logs]\nlinger.ms = -1\n")
    second = write(base.parent / "second.toml", '[daemon]\nworkers = 0\n[[listeners]]\nname = "x"\nformat = "raw"\n')
    found = {fault.key: fault.file for fault in faults_of(base, first, second)}
    assert found == {
        "daemon.workers": str(second),
        "producer.linger.ms": str(first),
        "topics.logs.linger.ms": str(first),
        "listeners.x.listen": str(second),
    }
    assert str(faults_of(first, second)[-1]).startswith(str(second))


def test_two_listeners_of_one_name_in_two_files_are_a_fault(base: Path) -> None:
    copy = write(base.parent / "copy.toml", "[[listeners]]" + BASE.partition("[[listeners]]")[2])
    assert "two listeners have this name" in faults_of(base, copy)[0].text


def test_every_file_that_cannot_be_read_is_told_at_once(base: Path) -> None:
    broken = write(base.parent / "broken.toml", "[daemon\n")
    found = faults_of(base, broken, base.parent / "none.toml")
    assert [fault.key for fault in found] == [str(broken), str(base.parent / "none.toml")]


def test_variables_are_replaced_wherever_there_are_strings(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZONE", "north")
    over = write(
        base.parent / "over.toml",
        '[producer]\nbootstrap.servers = ["kafka.${ZONE}:9092", "b:1"]\nclient.id = "$${ZONE}"\n'
        '[[listeners]]\nname = "${ZONE}"\nlisten = "unix-stream:/run/${ZONE}"\nformat = "lines"\ntopic = "t"\n'
        'headers = { zone = "${ZONE}" }\n',
    )
    loaded = reader.load([base, over])
    read = loaded.config
    assert loaded.sources.exactly("listeners.north.listen").place == str(over)
    assert read.producer.bootstrap_servers == ("kafka.north:9092", "b:1")
    assert read.producer.client_id == "${ZONE}"
    assert (read.listeners[1].name, read.listeners[1].headers) == ("north", (("zone", b"north"),))


def test_a_variable_may_stand_for_a_number_a_switch_or_a_list(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WORKERS", "3"), ("SEEDS", "a:1, b:1"), ("SURE", "false"), ("ACKS", "1"), ("WHEN", "never")):
        monkeypatch.setenv(name, value)
    over = write(
        base.parent / "over.toml",
        '[daemon]\nworkers = "${WORKERS}"\n[producer]\nbootstrap.servers = "${SEEDS}"\nacks = "${ACKS}"\n'
        'enable.idempotence = "${SURE}"\n[topics.logs]\ndelivery.timeout.ms = "${WHEN}"\n',
    )
    read = config.load(base, over)
    assert (read.daemon.workers, read.producer.bootstrap_servers) == (3, ("a:1", "b:1"))
    assert (read.producer.acks, read.producer.enable_idempotence) == (1, False)
    monkeypatch.setenv("WORKERS", "3x")
    assert "not a whole number" in str(faults_of(base, over)[0])


def test_a_variable_that_is_missing_is_one_fault_with_its_file(base: Path) -> None:
    over = write(base.parent / "over.toml", '[daemon]\nstate.directory = "${NOWHERE_TO_BE_FOUND}"\n')
    found = faults_of(base, over)
    assert [(fault.key, fault.file) for fault in found] == [("daemon.state.directory", str(over))]
    assert "NOWHERE_TO_BE_FOUND" in found[0].text


def test_a_secret_out_of_the_environment_is_noted_and_a_plain_dollar_brace_is_not(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", "hunter2")
    for text, noted in (("a$${b", False), ("$$${b}", False), ("a$${b${PASSWORD}", True)):
        over = write(base.parent / "over.toml", f'[producer]\nssl.key.password = "{text}"\n')
        notes = [note for note in reader.load([base, over]).notes if "the environment can be read" in note]
        assert bool(notes) is noted, text


def test_what_comes_from_a_file_is_never_shown(base: Path) -> None:
    (base.parent / "canary").write_text("hunter2 hunter2:x\n")
    text = '[producer]\n{} = {}\n[[listeners]]\nname = "l"\nlisten = {}\nformat = "raw"\ntopic = {}\n'
    canary = f'"${{file:{base.parent}/canary}}"'
    for setting, value in (("linger.ms", canary), ("bootstrap.servers", f"[{canary}]"), ("acks", canary)):
        over = write(base.parent / "over.toml", text.format(setting, value, canary, canary))
        found = faults_of(base, over)
        assert len(found) >= 3
        assert "hunter2" not in "\n".join(map(str, found))
        assert "***" in str(found[0])


def test_the_daemons_section_is_to_be_had_alone(base: Path) -> None:
    over = write(base.parent / "over.toml", '[producer]\nlinger.ms = "${NOWHERE_TO_BE_FOUND}"\n[daemon]\nworkers = 3\n')
    assert reader.load_daemon([base, over]).workers == 3
    write(over, "[daemon]\nworkers = 0\n")
    with pytest.raises(ConfigurationError, match="workers"):
        reader.load_daemon([base, over])


TABLES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "a": st.one_of(st.integers(), st.dictionaries(st.sampled_from(["b", "c"]), st.integers(), min_size=1)),
        "a.b": st.integers(),
        "c": st.integers(),
    },
).filter(lambda table: len(dict(flattened(table))) == len(list(flattened(table))))


@given(st.lists(TABLES, max_size=4))
def test_the_last_file_that_says_something_counts(tables: list[dict[str, Any]]) -> None:
    whole = merged([Document(f"{n}", {"producer": table}) for n, table in enumerate(tables)], Sources())
    expected: dict[str, object] = {}
    for table in tables:
        expected.update(flattened(table))
    assert dict(flattened(whole["producer"])) == expected if expected else not whole.get("producer")


@pytest.mark.parametrize("levels", [40, 900, 3000])
@pytest.mark.parametrize("form", ["producer.{dots}x = 1", "[producer.{dots}x]", "[[listeners]]\n{dots}x = 1"])
def test_what_is_nested_deeper_than_any_setting_is_a_fault(base: Path, levels: int, form: str) -> None:
    write(base, form.format(dots="a." * levels))
    with pytest.raises(ConfigurationError) as caught:
        reader.load([base])
    (fault,) = caught.value.faults
    assert fault.key == str(base)
    assert "nested more than 32 levels deep: " in fault.text
    assert len(fault.text) < 100


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a=", "}")])
@pytest.mark.parametrize("levels", [40, 100, 150, 3000])
def test_lists_and_tables_in_each_other_are_no_better(base: Path, levels: int, opening: str, closing: str) -> None:
    write(base, f"producer.x = {opening * levels}1{closing * levels}")
    with pytest.raises(ConfigurationError) as caught:
        reader.load([base])
    assert re.search("nested more than 32 levels deep: producer.x|not TOML: .*recursion", caught.value.faults[0].text)


def test_long_names_of_settings_are_not_too_deep(base: Path) -> None:
    name = "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms"
    with pytest.raises(ConfigurationError) as caught:
        reader.load([write(base, f"{BASE}\n[topics.a.b.c.d.e]\n{name} = 1\n")])
    assert not any("nested more" in fault.text for fault in caught.value.faults)


def test_what_comes_from_a_file_is_not_printed_below_a_listener_whose_name_does(base: Path) -> None:
    for name, content in (("name", "devices"), ("canary", "hunter2")):
        (base.parent / name).write_text(content)
    values = f'name = "${{file:{base.parent}/name}}"\nheaders = {{ a = "${{file:{base.parent}/canary}}" }}\n'
    text = f'[[listeners]]\n{values}listen = "udp:127.0.0.1:1"\nformat = "raw"\ntopic = "t"\n'
    loaded = reader.load([base, write(base.parent / "over.toml", text)])
    printed = to_toml(loaded.config, loaded.sources)
    assert "hunter2" not in printed
    assert f'headers = "***"  # {base.parent}/over.toml' in printed


PATH_SETTINGS = [
    ("[daemon]", "state.directory", ""),
    ("[daemon]", "arena.directory", ""),
    ("[producer]", "properties.file", ""),
    ("[producer]", "ssl.truststore.location", ""),
    ("[producer]", "ssl.keystore.location", ""),
    ("[producer]", "sasl.login.password.file", ""),
    ("[producer]", "sasl.oauthbearer.token.endpoint.url", "file:///"),
]


@pytest.mark.parametrize(("section", "name", "before"), PATH_SETTINGS)
def test_a_content_is_refused_where_a_path_is_wanted(base: Path, section: str, name: str, before: str) -> None:
    """A path is shown in notes, in the log and in the status, and a password would be taken for one."""
    canary = base.parent / "canary"
    canary.write_text("hunter2\n")
    canary.chmod(0o600)
    over = write(base.parent / "over.toml", f'{section}\n{name} = "{before}${{file:{canary}}}"\n')
    [fault] = faults_of(base, over)
    assert (fault.key, fault.value) == (f"{section.strip('[]')}.{name}", '"***"')
    assert (fault.text, fault.cure) == ("names a file itself", "Write the path, without ${file:}")
    assert "hunter2" not in str(fault)


def test_a_secret_whose_variable_stands_in_a_file_is_not_exposed_by_it(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", "hunter2")
    for text, noted in (("${PASSWORD}", False), ("hunter2", True), ("$${PASSWORD}", True)):
        over = write(base.parent / "over.toml", f'[producer]\nssl.key.password = "{text}"\n')
        over.chmod(0o644)
        notes = [note for note in reader.load([base, over]).notes if "every user of this host" in note]
        assert bool(notes) is noted, text
