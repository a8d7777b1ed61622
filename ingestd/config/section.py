"""One section of the file: nested tables flattened to Kafka's dotted names, keys known, values of their kind."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ingestd.config.faults import ABSENT, Faults, RefusedError, is_secret, nearest, toml_key, toml_text
from ingestd.config.values import REQUIRED, Setting
from ingestd.secret import Expanded, Secret, plain

Section = dict[str, Any]
"""Setting name to checked value, defaults filled in. Every known name is a key, also when its own value was a fault."""


def flattened(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """``linger.ms = 5`` (a table in a table, to TOML) and ``"linger.ms" = 5`` both as ``("linger.ms", 5)``.

    An empty table comes out as itself, so that it is not overlooked.
    """
    for key, value in table.items():
        name = prefix + key
        if isinstance(value, dict) and value:
            yield from flattened(value, name + ".")
        else:
            yield name, value


class Rules:
    """What a section may hold: the settings, those that a later version reads, and those that mean nothing here.

    ``ignored``: settings of Kafka's that change nothing here. What it holds for a name is asked with the value and
    gives a notice ("" for none), or raises RefusedError for a value that would have changed something.
    """

    def __init__(
        self,
        settings: Mapping[str, Setting],
        not_yet: Mapping[str, str] | None = None,
        foreign: Mapping[str, str] | None = None,
        elsewhere: Mapping[str, str] | None = None,
        ignored: Mapping[str, Callable[[object], str]] | None = None,
    ) -> None:
        self.settings = settings
        self.not_yet = not_yet or {}
        self.foreign = foreign or {}
        self.elsewhere = elsewhere or {}
        self.ignored = ignored or {}

    def refuse(self, place: str, name: str, value: object, faults: Faults) -> None:
        """Says why ``name`` may not stand in the section at ``place``, or why it changes nothing."""
        key = place + name
        if name in self.ignored:
            self._ignore(key, self.ignored[name], value, faults)
        elif name in self.not_yet:
            faults.add(key, value, "not yet", self.not_yet[name])
        elif name in self.foreign:
            faults.add(key, value, f"has no meaning here: {self.foreign[name]}", "Leave it out")
        elif name in self.elsewhere:
            faults.add(key, value, "in the wrong section", f"Move it to {self.elsewhere[name]}")
        else:
            near = nearest(name, self.settings)
            # A secret's name that is misspelt, or of another program, must not give the secret away.
            visible = Secret(value) if isinstance(value, str) and (not near or is_secret(near)) else value
            faults.add(key, visible, "unknown key", self.near(name) or "Leave it out")

    def _ignore(self, key: str, notice_of: Callable[[object], str], value: object, faults: Faults) -> None:
        try:
            if notice := notice_of(value):
                faults.note(key, notice)
        except RefusedError as refused:
            faults.add(key, value, refused.text, refused.cure)

    def near(self, name: str) -> str:
        """``Did you mean linger.ms?``, "" where no name is near."""
        near = nearest(name, (*self.settings, *self.not_yet)) or nearest(name, self.elsewhere)
        place_of_near = f" in {self.elsewhere[near]}" if near in self.elsewhere else ""
        return f"Did you mean {near}{place_of_near}?" if near else ""

    def knows(self, name: str) -> bool:
        """Whether ``name`` is one that the section reads, ignores or refuses by name."""
        return any(name in names for names in (self.settings, self.ignored, self.not_yet, self.foreign))


def read_section(place: str, table: object, rules: Rules, faults: Faults, *, whole: tuple[str, ...] = ()) -> Section:
    """The section ``table``, whose keys are shown behind ``place``; the names in ``whole`` are tables by themselves."""
    section: Section = {name: setting.default for name, setting in rules.settings.items()}
    if not isinstance(table, dict):
        faults.add(place.rstrip("."), table, "not a table", f"Write it as [{place.rstrip('.')}]")
        return section
    given: set[str] = set()
    parts = {key: value for key, value in table.items() if key not in whole}
    for name, value in (*flattened(parts), *((key, table[key]) for key in whole if key in table)):
        setting = rules.settings.get(name)
        if setting is None:
            rules.refuse(place, name, value, faults)
        elif name in given:
            faults.add(place + name, value, "given twice, with and without quotes", "Write it once")
        else:
            given.add(name)
            try:
                given_value = setting.kind.from_text(value) if isinstance(value, Expanded) else value
                section[name] = plain(setting.kind.read(given_value))
            except RefusedError as refused:
                faults.add(place + name, value, refused.text, refused.cure)
    for name, setting in rules.settings.items():
        if setting.default is REQUIRED and name not in given:
            faults.add(place + name, ABSENT, "missing", f"Write {toml_key_of(name)} = ... ({setting.kind.valid})")
    return section


def toml_key_of(name: str) -> str:
    """A dotted name as it is usually written: parts bare where they can be."""
    return ".".join(toml_key(part) for part in name.split("."))


def given_names(table: object) -> frozenset[str]:
    """The flattened names that ``table`` holds."""
    return frozenset(name for name, _ in flattened(table)) if isinstance(table, dict) else frozenset()


def quoted(names: tuple[str, ...]) -> str:
    """Names for people, as a TOML list would hold them."""
    return ", ".join(toml_text(name) for name in names)
