"""Variables in strings: replaced, concealed where they come from a file, refused with a cure where they cannot be."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.config.faults import RefusedError, toml_text
from ingestd.config.variables import FILE_BYTES_MAX, expand
from ingestd.secret import Concealed, plain

ENVIRONMENT = {"HOST": "gateway-7", "EMPTY": "", "A_1": "a"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("", ""),
        ("plain $HOST } $ {x}", "plain $HOST } $ {x}"),
        ("${HOST}", "gateway-7"),
        ("a-${HOST}-${A_1}${EMPTY}-b", "a-gateway-7-a-b"),
        ("$${HOST}", "${HOST}"),
        ("$$${HOST}", "$${HOST}"),
        ("${HOST}}", "gateway-7}"),
        ("$$x", "$$x"),
    ],
)
def test_names_are_replaced(text: str, expanded: str) -> None:
    assert expand(text, ENVIRONMENT) == expanded


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("${NONE}", "the environment has no NONE"),
        ("${HOST", "a ${ without its }"),
        ("${}", "${} is no variable"),
        ("${a b}", "${a b} is no variable"),
        ("${env:HOST}", "${env:HOST} is no variable"),
        ("${file:password}", "not an absolute path"),
        ("${file:}", "not an absolute path"),
        ("${file:/nowhere/at/all}", "No such file"),
        ("${file:/\0}", "cannot be read"),
        ("${file:/dev/null}", "not a file"),
        ("${file:/}", "not a file"),
        ("${file:${NONE}/x}", "the environment has no NONE"),
    ],
)
def test_what_cannot_be_had_is_refused_with_a_cure(text: str, part: str) -> None:
    with pytest.raises(RefusedError) as caught:
        expand(text, ENVIRONMENT)
    assert part in caught.value.text
    assert caught.value.cure


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"hunter2", "hunter2"),
        (b"hunter2\n\n", "hunter2\n"),
        (b" a\nb \n", " a\nb "),
        (b"", ""),
        ("schlüssel".encode(), "schlüssel"),
        (b"${HOST}", "${HOST}"),
    ],
)
def test_a_file_is_taken_whole_but_for_the_newline_at_its_end(tmp_path: Path, content: bytes, read: str) -> None:
    (tmp_path / "password").write_bytes(content)
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    found = expand("<${file:${CREDENTIALS_DIRECTORY}/password}>", environment)
    assert isinstance(found, Concealed)
    assert plain(found) == f"<{read}>"
    assert f"{found} {found!r} {[found]} {toml_text(found)}" == '*** *** [***] "***"'


def test_a_file_that_is_no_text_or_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"\xff")
    with pytest.raises(RefusedError, match="not UTF-8"):
        expand(f"${{file:{path}}}", {})
    path.write_bytes(b"x" * (FILE_BYTES_MAX + 1))
    with pytest.raises(RefusedError, match="larger than"):
        expand(f"${{file:{path}}}", {})


def test_a_pipe_does_not_hold_up_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RefusedError, match="not a file"):
        expand(f"${{file:{tmp_path}/pipe}}", {})


def test_a_secret_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2")
    path.chmod(0o644)
    assert plain(expand(f"${{file:{path}}}", {})) == "hunter2"
    with pytest.raises(RefusedError, match="every user of this host") as caught:
        expand(f"${{file:{path}}}", {}, secret=True)
    assert caught.value.cure == f"Run: chmod o= {path}"
    path.chmod(0o640)
    assert plain(expand(f"${{file:{path}}}", {}, secret=True)) == "hunter2"


def test_variables_within_variables_end_somewhere() -> None:
    with pytest.raises(RefusedError):
        expand("${" * 5000, {})


def test_an_environment_that_is_no_utf_8_is_refused() -> None:
    with pytest.raises(RefusedError, match="not UTF-8") as caught:
        expand("${A}", {"A": "hunter\udcff"})
    assert "hunter" not in str(caught.value)


@given(st.text(alphabet="${}:aA/_ ", max_size=20))
def test_any_text_is_expanded_or_refused(text: str) -> None:
    try:
        found = expand(text, {"A": "x", "a": "y"})
    except RefusedError:
        return
    assert "${" in text or found == text


@given(st.text(max_size=20))
def test_doubled_dollars_keep_any_text_as_it_is(text: str) -> None:
    assert expand(text.replace("${", "$${"), {}) == text or "$${" in text
