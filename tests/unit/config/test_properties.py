"""Java's properties format; ``tests/kafka/test_properties.py`` compares with Java itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.config.faults import RefusedError
from ingestd.config.properties import Property, parse_properties


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=b", {"a": "b"}),
        ("a:b", {"a": "b"}),
        ("a b", {"a": "b"}),
        ("  a \t=\f b c ", {"a": "b c "}),
        ("a = = b", {"a": "= b"}),
        ("a", {"a": ""}),
        ("=b", {"": "b"}),
        ("# c\n! d\n\n  # e\na=b#c", {"a": "b#c"}),
        ("a=b\\\n   c\\\n  #d\ne=f", {"a": "bc#d", "e": "f"}),
        ("a=b\\\\\nc=d", {"a": "b\\", "c": "d"}),
        ("a=b\\", {"a": "b"}),
        ("\\\n#a=b\nc=d", {"c": "d"}),
        ("\\\n", {"": ""}),
        ("a\\=b\\:c\\ d=e", {"a=b:c d": "e"}),
        ('a=\\t\\n\\r\\f\\q\\"', {"a": '\t\n\r\fq"'}),
        ("a=\\u00e4\\uD83D\\uDE00", {"a": "ä😀"}),
        ("a=1\r\nb=2\rc=3\n", {"a": "1", "b": "2", "c": "3"}),
        ("a=1\na=2", {"a": "2"}),
        ("", {}),
    ],
)
def test_it_is_read_as_java_reads_it(text: str, pairs: dict[str, str]) -> None:
    assert {entry.name: entry.value for entry in parse_properties(text)} == pairs


def test_each_key_is_told_with_the_line_it_begins_in() -> None:
    text = "# comment\nbootstrap.servers=a:1,\\\n  b:1\n\nacks=all\n"
    assert parse_properties(text) == [Property("bootstrap.servers", "a:1,b:1", 2), Property("acks", "all", 5)]


@pytest.mark.parametrize("text", ["a=b\nc=\\u12", "a=b\nc=\\u12g4", "a=b\n\\u=1"])
def test_a_broken_escape_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(RefusedError, match="line 2"):
        parse_properties(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_properties(text)
    except RefusedError:
        return
    assert len({entry.name for entry in found}) == len(found)
