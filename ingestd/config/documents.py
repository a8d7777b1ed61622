"""The files of a configuration, read and laid over each other: one document, and where each of its values comes from.

Next to a file there may be a folder ``conf.d``: its ``*.toml`` are read behind it, in the order of their names. What
a later file says of a setting counts; listeners add up.
"""

import os
import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from ingestd.config.faults import Faults, RefusedError, is_secret, toml_key
from ingestd.config.listeners import listener_label
from ingestd.config.section import flattened, given_names
from ingestd.config.sources import Sources
from ingestd.config.variables import expand
from ingestd.errors import ConfigurationError, Fault
from ingestd.secret import Concealed

FILE_BYTES_MAX: Final = 4 << 20
DEPTH_MAX: Final = 32
"""Of tables and lists in each other; the longest name of a setting has nine parts, its section's included."""
_DEPTH_SHOWN: Final = 4
_DROP_INS: Final = "conf.d"

_ENDPOINT: Final = "producer.sasl.oauthbearer.token.endpoint.url"
_PATHS: Final = frozenset(
    {
        "daemon.arena.directory",
        "daemon.state.directory",
        "producer.properties.file",
        "producer.sasl.login.password.file",
        "producer.ssl.keystore.location",
        "producer.ssl.truststore.location",
    }
)

Table = dict[str, Any]


class Document(NamedTuple):
    """A file's tables. ``exposed``: every user of the host can read it."""

    file: str
    tables: Table
    exposed: bool = False


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files to read for ``-c FILE`` given as ``paths``: each with the drop-ins next to it, none twice.

    ConfigurationError: a folder of drop-ins cannot be listed.
    """
    named = {path.absolute() for path in paths}
    found: dict[Path, None] = {}
    for path in paths:
        found[path.absolute()] = None
        folder = path.absolute().parent / _DROP_INS
        for drop_in in _drop_ins(folder):
            if drop_in not in named:
                found[drop_in] = None
    shown = {path.absolute(): path for path in paths}
    return [shown.get(path, path) for path in found]


def _drop_ins(folder: Path) -> list[Path]:
    # Not glob(), to which a folder that may not be read is an empty one.
    try:
        return sorted(path for path in folder.iterdir() if path.name.endswith(".toml"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as refused:
        if not os.access(folder.parent, os.X_OK):
            return []  # nor may the file next to it be read, which is said of that one
        cure = "Let this user read and enter the folder: what is in it counts"
        raise ConfigurationError([Fault(str(folder), "", f"cannot be read: {refused.strerror}", cure)]) from None


def read_documents(paths: Sequence[Path]) -> list[Document]:
    """Reads every file of ``paths`` and their drop-ins; ConfigurationError if one cannot be read or is not TOML."""
    documents, faults = [], []
    for path in files_of(paths):
        try:
            content, exposed = read_file(path, "Name the configuration with -c FILE")
            documents.append(Document(str(path), parse_toml(_decoded(content, path), str(path)), exposed))
        except ConfigurationError as refused:
            faults += refused.faults
    if faults:
        raise ConfigurationError(faults)
    return documents


def read_file(path: Path, cure: str) -> tuple[bytes, bool]:
    """The bytes of a configuration file, and whether every user of this host can read it."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
            mode = os.fstat(file.fileno()).st_mode
    except OSError as refused:
        raise ConfigurationError([Fault(str(path), "", f"cannot be read: {refused.strerror}", cure)]) from None
    if len(content) > FILE_BYTES_MAX:
        raise ConfigurationError([Fault(str(path), "", f"larger than {FILE_BYTES_MAX} bytes", cure)])
    return content, bool(mode & stat.S_IROTH)


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as refused:
        line = content.count(b"\n", 0, refused.start) + 1
        raise ConfigurationError([Fault(f"{path}:{line}", "", "not UTF-8", "Save the file as UTF-8")]) from None


def parse_toml(text: str, name: str) -> Table:
    """The tables of ``text``; ``name`` stands in the fault of one that is not TOML."""
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as refused:  # besides TOMLDecodeError: a number of thousands of digits
        cure = "Every later fault is hidden until this one is mended"
        raise ConfigurationError([Fault(name, "", f"not TOML: {refused}", cure)]) from None
    if (key := _too_deep(tables)) is not None:
        text = f"nested more than {DEPTH_MAX} levels deep: {key.rstrip('.')}..."
        raise ConfigurationError([Fault(name, "", text, "No setting is: look for a name with too many dots")])
    return tables


def _too_deep(tables: Table) -> str | None:
    """How the name of something begins that is nested too deep for any setting, and for functions that call themselves
    level by level; None: nothing is."""
    level: list[tuple[str, object]] = [("", tables)]
    for depth in range(DEPTH_MAX + 1):
        below: list[tuple[str, object]] = []
        for key, value in level:
            if isinstance(value, dict):
                named = depth < _DEPTH_SHOWN
                below += [(f"{key}{toml_key(name)}." if named else key, item) for name, item in value.items()]
            elif isinstance(value, list):
                below += [(key, item) for item in value]
        level = below
    return next((key for key, value in level if isinstance(value, dict | list)), None)


def merged(documents: Sequence[Document], sources: Sources) -> Table:
    """One document out of all: later ones override setting by setting, listeners add up. Notes the sources."""
    whole: Table = {}
    for document in documents:
        _note_sources(document, whole.get("listeners"), sources)
        for section, table in document.tables.items():
            before = whole.get(section)
            if section == "listeners" and isinstance(before, list) and isinstance(table, list):
                whole[section] = [*before, *table]
            elif section == "topics" and isinstance(before, dict) and isinstance(table, dict):
                whole[section] = {**before, **{name: _overlaid(before.get(name), table[name]) for name in table}}
            else:
                whole[section] = _overlaid(before, table)
    return whole


def _note_sources(document: Document, listeners_before: object, sources: Sources) -> None:
    if not document.file:
        return
    for section, table in document.tables.items():
        if section == "topics" and isinstance(table, dict):
            for topic, settings in table.items():
                _note_table(f"topics.{toml_key(topic)}", settings, document.file, sources)
        elif section == "listeners" and isinstance(table, list):
            count = len(listeners_before) if isinstance(listeners_before, list) else 0
            for index, listener in enumerate(table, count):
                _note_table(f"listeners.{listener_label(index, listener)}", listener, document.file, sources)
        else:
            _note_table(section, table, document.file, sources)


def _note_table(key: str, table: object, file: str, sources: Sources) -> None:
    if isinstance(table, dict):
        # Of a listener, headers and key are tables themselves, and shown whole.
        for name in (*(name for name, _ in flattened(table)), *table):
            sources.note(f"{key}.{name}", file)
    if not isinstance(table, dict) or key.startswith(("topics.", "listeners.")):
        sources.note(key, file)


def _overlaid(base: object, over: object) -> object:
    """``base`` with every setting that ``over`` has, however either writes it (``a.b = 1`` or ``"a.b" = 1``)."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    names = given_names(over)
    result: Table = dict(over)
    for name, value in flattened(base):
        if name in names:
            continue
        if isinstance(result.get(name), dict):
            # A setting's name may be the beginning of another's (buffer.memory): quoted, both can stand.
            result.update({f"{name}.{rest}": item for rest, item in flattened(result.pop(name))})
        result[name] = value
    return result


def expanded(whole: Table, environment: Mapping[str, str], faults: Faults) -> Table:
    """``whole`` with the variables in its strings replaced; what cannot be is a fault, and its setting is left out."""
    result: Table = {}
    for section, value in whole.items():
        if section == "topics" and isinstance(value, dict):
            result[section] = {
                topic: _expanded(f"topics.{toml_key(topic)}", table, environment, faults)
                for topic, table in value.items()
            }
        elif section == "listeners" and isinstance(value, list):
            result[section] = [
                _expanded_listener(index, table, environment, faults) for index, table in enumerate(value)
            ]
        else:
            result[section] = _expanded(section, value, environment, faults)
    return result


def _expanded_listener(index: int, table: object, environment: Mapping[str, str], faults: Faults) -> object:
    """A listener whose name is a variable is called by its place until the variable is replaced."""
    before = f"listeners.{listener_label(index, table)}"
    result = _expanded(before, table, environment, faults)
    faults.sources.rename(before, f"listeners.{listener_label(index, result)}")
    return result


def _expanded(key: str, value: object, environment: Mapping[str, str], faults: Faults) -> Any:
    if isinstance(value, dict):
        return {name: _expanded(f"{key}.{name}", item, environment, faults) for name, item in value.items()}
    if isinstance(value, list):
        return [_expanded(key, item, environment, faults) for item in value]
    return expanded_text(key, value, environment, faults) if isinstance(value, str) else value


def expanded_text(key: str, text: str, environment: Mapping[str, str], faults: Faults) -> str:
    """The string ``text`` of the setting ``key`` with its variables replaced; a fault leaves it as it is."""
    secret = is_secret(key)
    try:
        found = expand(text, environment, secret=secret)
    except RefusedError as refused:
        faults.add_last(key, text, refused.text, refused.cure)
        return text
    if isinstance(found, Concealed) and names_a_file(key, text):
        # A path is shown wherever its file fails: a content that was taken for one must not get that far.
        faults.add_last(key, found, "names a file itself", "Write the path, without ${file:}")
        return text
    if isinstance(found, Concealed):
        faults.sources.conceal(key)
    elif secret and found != text.replace("$${", "${"):
        faults.sources.replace(key)
        faults.note(key, "the environment can be read by every process of its user: prefer ${file:PATH}")
    return found


def names_a_file(key: str, text: str) -> bool:
    """Whether ``text`` stands where a path is wanted, and not what is in the file."""
    return key in _PATHS or (key == _ENDPOINT and text.lower().startswith("file:"))
