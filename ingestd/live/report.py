"""The text of ``ingestd check --live``."""

from collections.abc import Iterable, Iterator, Sequence

from ingestd.config.model import Config
from ingestd.kafka.describe import DESCRIBE, READ, WRITE, TopicDescription
from ingestd.kafka.errors import NONE
from ingestd.live.view import Finding, Reached, View, Weight
from ingestd.log import counted, printable

_LINE_CHARACTERS_MAX = 2000
_NAMES_MAX = 5
"""In a line: topics have names of up to 249 characters."""
_SEVERAL = ("topic", "broker")
_RIGHTS = ((WRITE, "write"), (DESCRIBE, "describe"), (READ, "read"))


def report(config: Config, view: View, findings: Sequence[Finding]) -> str:
    """Brokers, topics, findings, one a line, and a last line that sums up; safe for a terminal, whoever says it."""
    lines = [f"bootstrap.servers {_reached(seed)}" for seed in view.seeds]
    if not view.reachable:
        return _text([*lines, "no bootstrap server can be reached"])
    lines.append(f"cluster {view.cluster_id}")
    lines += [f"  broker {node} {_reached(broker)}" for node, broker in sorted(view.nodes.items())]
    lines += [_topic(topic) for topic in _present(config, view)]
    together = _together(findings)
    lines += map(str, together)
    fails = sum(finding.weight is Weight.FAILS for finding in together)
    notes = len(together) - fails
    lines.append(f"{counted(fails, 'finding')} that will cost records, {notes} to think about")
    return _text(lines)


def _together(findings: Sequence[Finding]) -> list[Finding]:
    """What holds for several topics, or several brokers, is one finding about all of them."""
    found: dict[tuple[Weight, str, str, str], list[str]] = {}
    for weight, subject, what, cure in findings:
        kind, _, name = subject.partition(" ")
        alike = (weight, kind if kind in _SEVERAL else subject, what, cure)
        names = found.setdefault(alike, [])
        if kind in _SEVERAL:
            names.append(name)
    return [
        Finding(weight, f"{kind}{'s' if len(some) > 1 else ''} {', '.join(some)}" if some else kind, what, cure)
        for (weight, kind, what, cure), names in found.items()
        for some in ([names[at : at + _NAMES_MAX] for at in range(0, len(names), _NAMES_MAX)] or [[]])
    ]


def _text(lines: Iterable[str]) -> str:
    return "\n".join(printable(line, _LINE_CHARACTERS_MAX) for line in lines)


def _reached(broker: Reached) -> str:
    if broker.error:
        return f"{broker.address}: {broker.error}"
    return f"{broker.address}: reached, Produce {broker.produce_version}"


def _present(config: Config, view: View) -> Iterator[TopicDescription]:
    for topic in config.topics:
        found = view.topics.get(topic.name)
        if found is not None and found.code == NONE:
            yield found


def _topic(topic: TopicDescription) -> str:
    partitions, replicas = len(topic.leaders), min(topic.replicas, default=0)
    granted = ", ".join(name for operation, name in _RIGHTS if topic.may(operation)) or "nothing told"
    shapes = f"{counted(partitions, 'partition')}, {counted(replicas, 'replica')}"
    return f"  topic {topic.name}: {shapes}; granted: {granted}"
