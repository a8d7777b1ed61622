"""``[producer] properties.file``: the configuration of a Java producer, as it is, below what the TOML says.

As in Java, a name that Kafka's producer does not know is no fault, and variables such as ``${file:/secrets:password}``
are looked up only where ``config.providers`` says who does (KIP-297). The providers that Kafka brings are built in.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ingestd.config import variables
from ingestd.config.documents import read_file
from ingestd.config.faults import Faults, RefusedError, is_secret, toml_text
from ingestd.config.properties import Property, parse_properties
from ingestd.config.section import Rules, given_names
from ingestd.errors import ConfigurationError
from ingestd.secret import Concealed

FILE_KEY: Final = "properties.file"
_PROVIDERS: Final = "config.providers"
_PROVIDER_PACKAGE: Final = "org.apache.kafka.common.config.provider."
_OWN_PATH: Final = "sasl.login.password.file"
_JAVA_BLANKS: Final = "".join(map(chr, range(0x21)))
"""What Java's trim() takes away."""
_SHOWABLE: Final = re.compile(r"[a-z0-9_.-]{1,100}")


class KafkaFile:
    """A properties file that was read. ``exposed``: every user of the host can read it."""

    def __init__(self, path: Path, properties: list[Property], exposed: bool) -> None:
        self.path = path
        self.exposed = exposed
        self._values = {entry.name: entry for entry in properties}
        self._kinds = self._provider_kinds()

    @classmethod
    def read(cls, text: object, folder: Path | None, faults: Faults) -> "KafkaFile | None":
        """The file that the setting names, seen from ``folder``; None if it cannot be read, which is then a fault."""
        key = f"producer.{FILE_KEY}"
        if not isinstance(text, str) or not text or "\0" in text:
            faults.add(key, text, "not a path", 'Write it in quotes: "/etc/ingestd/producer.properties"')
            return None
        path = Path(str.__str__(text))
        if not path.is_absolute():
            if folder is None:
                faults.add(key, text, "not an absolute path", "Begin it with /")
                return None
            path = folder / path
        try:
            content, exposed = read_file(path, "Name a Kafka properties file")
            # Java reads them as Latin-1 (Properties.load), whatever they were written in.
            return cls(path, parse_properties(content.decode("latin-1")), exposed)
        except ConfigurationError as refused:
            faults.add(key, text, refused.faults[0].text, refused.faults[0].cure)
        except RefusedError as refused:
            faults.add(key, text, refused.text, refused.cure)
        return None

    def _provider_kinds(self) -> dict[str, str]:
        """Name of each provider → its class; the class of an unnamed kind is asked for when it is used."""
        names = self._values[_PROVIDERS].value if _PROVIDERS in self._values else ""
        return {
            name: self._values[f"{_PROVIDERS}.{name}.class"].value.strip().removeprefix(_PROVIDER_PACKAGE)
            for name in (item.strip() for item in names.split(","))
            if f"{_PROVIDERS}.{name}.class" in self._values
        }

    def laid_below(
        self, table: Mapping[str, Any], rules: Rules, environment: Mapping[str, str], faults: Faults
    ) -> dict[str, Any]:
        """``table`` (the TOML's ``[producer]``) and what this file adds to it. Notes sources, and what is left out."""
        given = given_names(table)
        whole: dict[str, Any] = dict(table)
        for name, entry in self._values.items():
            place = f"{self.path}:{entry.line}"
            if name in given:
                faults.note(f"producer.{name}", f"counts, and not {place}")
            elif name == _PROVIDERS or name.startswith(f"{_PROVIDERS}."):
                continue
            elif name == FILE_KEY or not rules.knows(name):
                faults.notes.append(f"{place}: {_unknown(name, rules)}")
            else:
                faults.sources.note(f"producer.{name}", place)
                whole[name] = self._value(name, entry.value, rules, environment, faults)
        return whole

    def _value(self, name: str, text: str, rules: Rules, environment: Mapping[str, str], faults: Faults) -> object:
        key = f"producer.{name}"
        if self._kinds:
            try:
                found = self._looked_up(text, environment, secret=is_secret(name))
            except RefusedError as refused:
                faults.add_last(key, text, refused.text, refused.cure)
                found = text
            if found != text:
                faults.sources.replace(key)
            if isinstance(found, Concealed):
                if name == _OWN_PATH:
                    # Java has paths in its lookups, too; but this setting is ours, and a password is near at hand.
                    faults.add_last(key, found, "names a file itself", "Write the path, without a provider")
                faults.sources.conceal(key)
            text = found
        text = _trimmed(text)
        setting = rules.settings.get(name)
        return text if setting is None else setting.kind.from_text(text)

    def _looked_up(self, text: str, environment: Mapping[str, str], *, secret: bool) -> str:
        """Every ``${provider:[path:]key}`` replaced once, as Kafka's ConfigTransformer does."""
        parts, at, concealed = [], 0, False
        while (begin := text.find("${", at)) >= 0 and (end := text.find("}", begin)) >= 0:
            parts.append(text[at:begin])
            at = end + 1
            provider, _, rest = text[begin + 2 : end].partition(":")
            if provider in self._kinds:
                parts.append(self._provided(provider, rest, environment, secret=secret))
                concealed = concealed or self._kinds[provider] != "EnvVarConfigProvider"
            else:
                parts.append(text[begin:at])
        whole = "".join(parts) + text[at:]
        return Concealed(whole) if concealed else whole

    def _provided(self, provider: str, rest: str, environment: Mapping[str, str], *, secret: bool) -> str:
        kind = self._kinds[provider]
        path, key = rest.split(":", 1) if ":" in rest else ("", rest)
        if kind == "EnvVarConfigProvider":
            if key not in environment:
                raise RefusedError(f"the environment has no {key}", "Set it where the daemon is started")
            return environment[key]
        if kind == "DirectoryConfigProvider":
            return variables.read_file(f"{path}/{key}", secret=secret)
        if kind == "FileConfigProvider":
            entries = parse_properties(variables.read_file(path, secret=secret))
            values = {entry.name: entry.value for entry in entries}
            if key not in values:
                raise RefusedError(f"{toml_text(path)} has no {key}", "Correct the path or the key")
            return values[key]
        cure = f"Write the value in the TOML, as ${{file:PATH}}, or use a provider of {_PROVIDER_PACKAGE}*"
        raise RefusedError(f"the provider {toml_text(provider)} is {toml_text(kind)}, which needs Java", cure)


def _trimmed(text: str) -> str:
    """As Kafka takes a value: without blanks, those of what was looked up included."""
    trimmed = text.strip(_JAVA_BLANKS)
    return Concealed(trimmed) if isinstance(text, Concealed) else trimmed


def _unknown(name: str, rules: Rules) -> str:
    if not _SHOWABLE.fullmatch(name):
        # The rest of a key or password whose line break has no backslash in front is, to Java, a name.
        return "is left out: it begins with no name of a setting (does the line before it lack its backslash?)"
    near = f". {rules.near(name)}" if rules.near(name) else ""
    return f"{name} is no setting of Kafka's producer, and left out{near}"
