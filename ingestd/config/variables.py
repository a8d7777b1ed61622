"""``${NAME}`` and ``${file:PATH}`` in the strings of a configuration.

``${NAME}``: the environment variable. ``${file:PATH}``: the whole file without one newline at its end, as systemd's
credentials and Docker's and Kubernetes' secrets are mounted; the path is absolute and may hold variables itself
(``${file:${CREDENTIALS_DIRECTORY}/password}``). ``$${`` is a plain ``${``; a dollar sign without a brace is itself.
"""

import os
import re
import stat
from collections.abc import Mapping
from typing import Final

from ingestd.config.faults import RefusedError, toml_text
from ingestd.secret import Concealed, Expanded

FILE_BYTES_MAX: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MARK: Final = re.compile(r"\$?\$\{|\}")


def expand(text: str, environment: Mapping[str, str], *, secret: bool = False) -> str:
    """``text`` with its variables replaced: an Expanded if there were any, a Concealed if a file's content is in it.

    ``secret``: the setting holds a secret, and a file that every user of the host can read is refused. RefusedError
    for what cannot be had.
    """
    if "${" not in text:
        return text
    reader = _Reader(text, environment, secret)
    try:
        expanded = reader.read(nested=False)
    except RecursionError:
        raise RefusedError("variables within variables without end", "Write $${ for a plain ${") from None
    return Concealed(expanded) if reader.concealed else Expanded(expanded)


class _Reader:
    def __init__(self, text: str, environment: Mapping[str, str], secret: bool) -> None:
        self._text = text
        self._at = 0
        self._environment = environment
        self._secret = secret
        self.concealed = False

    def read(self, *, nested: bool) -> str:
        """Everything up to the end, or, ``nested``, up to the brace that closes the variable around it."""
        parts = []
        while found := _MARK.search(self._text, self._at):
            parts.append(self._text[self._at : found.start()])
            self._at = found.end()
            if found[0] == "}":
                if nested:
                    return "".join(parts)
                parts.append("}")
            elif found[0] == "$${":
                parts.append("${")
            else:
                parts.append(self._value(self.read(nested=True)))
        if nested:
            raise RefusedError("a ${ without its }", "Close it, or write $${ for a plain ${")
        return "".join(parts) + self._text[self._at :]

    def _value(self, name: str) -> str:
        kind, colon, path = name.partition(":")
        if colon and kind == "file":
            self.concealed = True
            return read_file(path, secret=self._secret)
        if not _NAME.fullmatch(name):
            text = f"${{{name}}} is no variable"
            raise RefusedError(text, "Write ${NAME}, ${file:PATH}, or $${ for a plain ${")
        if name not in self._environment:
            raise RefusedError(f"the environment has no {name}", "Set it where the daemon is started")
        value = self._environment[name]
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise RefusedError(f"the environment's {name} is not UTF-8", "Set it to UTF-8 text")
        return value


def read_file(path: str, *, secret: bool = False) -> str:
    """The content of the file at ``path`` without one newline at its end; see :func:`expand`."""
    if not path.startswith("/"):
        raise RefusedError(f"{toml_text(path)} is not an absolute path", "Begin it with /")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise RefusedError(f"{toml_text(path)} is not a file", "Name a regular file")
            content = _read_up_to(descriptor, FILE_BYTES_MAX + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as refused:
        reason = refused.strerror if isinstance(refused, OSError) else "no path"
        raise RefusedError(f"{toml_text(path)} cannot be read: {reason}", "Correct the path or its owner") from None
    if secret and status.st_mode & stat.S_IROTH:
        raise RefusedError(f"every user of this host can read {toml_text(path)}", f"Run: chmod o= {path}")
    if len(content) > FILE_BYTES_MAX:
        raise RefusedError(f"{toml_text(path)} is larger than {FILE_BYTES_MAX} bytes", "Name a smaller file")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise RefusedError(f"{toml_text(path)} is not UTF-8", "Name a text file") from None
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def _read_up_to(descriptor: int, count: int) -> bytes:
    content = b""
    while len(content) < count and (chunk := os.read(descriptor, count - len(content))):
        content += chunk
    return content
