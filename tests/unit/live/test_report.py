"""The text of the live check."""

from ingestd.config.reader import parse
from ingestd.kafka.describe import DESCRIBE, WRITE, TopicDescription
from ingestd.live.report import report
from ingestd.live.view import Finding, Reached, View, Weight, number

CONFIG = parse(
    '[producer]\nbootstrap.servers = ["a:1"]\n'
    '[[listeners]]\nname = "l"\nlisten = "udp:127.0.0.1:1"\nformat = "raw"\ntopic = "t"\n'
)


def test_brokers_topics_findings_and_the_sum() -> None:
    view = View(
        [Reached("a:1", "", 13)],
        "cluster-id",
        {1: Reached("a:1", "", 13), 2: Reached("b:1", "refused")},
        {"t": TopicDescription("t", 0, (1,), (3,), (3,), 1 << WRITE | 1 << DESCRIBE)},
    )
    findings = [Finding(Weight.FAILS, "x", "fails", "Mend it"), Finding(Weight.NOTE, "y", "looks odd", "See")]
    assert report(CONFIG, view, findings).splitlines() == [
        "bootstrap.servers a:1: reached, Produce 13",
        "cluster cluster-id",
        "  broker 1 a:1: reached, Produce 13",
        "  broker 2 b:1: refused",
        "  topic t: 1 partition, 3 replicas; granted: write, describe",
        "fails: x: fails. Mend it",
        "note: y: looks odd. See",
        "1 finding that will cost records, 1 to think about",
    ]


def test_what_holds_for_several_is_said_once() -> None:
    subjects = ["topic a", "topic b", "broker 1", "topic c", "brokers"]
    findings = [Finding(Weight.NOTE, subject, "one replica", "Give it three") for subject in subjects]
    findings.append(Finding(Weight.FAILS, "topic a", "one replica", "Give it three"))
    assert report(CONFIG, View([Reached("a:1")], "c"), findings).splitlines()[2:] == [
        "note: topics a, b, c: one replica. Give it three",
        "note: broker 1: one replica. Give it three",
        "note: brokers: one replica. Give it three",
        "fails: topic a: one replica. Give it three",
        "1 finding that will cost records, 3 to think about",
    ]


def test_many_names_are_several_lines_and_settings_have_no_plural() -> None:
    names = [f"{number}" * 200 for number in range(7)]
    findings = [Finding(Weight.FAILS, f"topic {name}", "not there", "Create it") for name in names]
    findings += [Finding(Weight.NOTE, f"bootstrap.servers {name}", "no connection", "Mend it") for name in "ab"]
    lines = report(CONFIG, View([Reached("a:1")], "c"), findings).splitlines()[2:]
    assert [line.endswith(": not there. Create it") for line in lines] == [True, True, False, False, False]
    assert [name in lines[0] for name in names] == [True] * 5 + [False] * 2
    assert lines[2:] == [
        "note: bootstrap.servers a: no connection. Mend it",
        "note: bootstrap.servers b: no connection. Mend it",
        "2 findings that will cost records, 2 to think about",
    ]


def test_nobody_reached() -> None:
    assert report(CONFIG, View([Reached("a:1", "refused")]), []).splitlines() == [
        "bootstrap.servers a:1: refused",
        "no bootstrap server can be reached",
    ]


def test_numbers_of_settings() -> None:
    told = {"a": "5", "b": None, "c": "x"}
    assert [number(told, name) for name in ("a", "b", "c", "d")] == [5, None, None, None]


def test_what_a_broker_says_stays_on_its_line_and_away_from_the_terminal() -> None:
    evil = "\x1b[2J no\nfails: x: forged"
    lines = report(CONFIG, View([Reached("a:1", evil)]), []).splitlines()
    assert lines == [r"bootstrap.servers a:1: \x1b[2J no\nfails: x: forged", "no bootstrap server can be reached"]
    text = report(CONFIG, View([Reached("a:1")], evil), [Finding(Weight.NOTE, "y", evil, "See")])
    assert len(text.splitlines()) == 4
    assert all(line.isprintable() for line in text.splitlines())
