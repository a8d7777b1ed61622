"""Who we are to the brokers: from plain settings, or from ``sasl.jaas.config`` in Java's syntax.

    org.apache.kafka.common.security.scram.ScramLoginModule required username="alice" password="secret";

The syntax is that of Kafka's JaasConfig: a class, a control flag, options ``key=value`` with or without double quotes,
backslash escapes within them, a semicolon at the end. Whatever is wrong is said without a word of the text itself.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from ingestd.config.faults import RefusedError
from ingestd.config.security import Security
from ingestd.secret import Secret

_PACKAGE: Final = "org.apache.kafka.common.security."
_MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "PLAIN": (f"{_PACKAGE}plain.PlainLoginModule",),
    "SCRAM-SHA-256": (f"{_PACKAGE}scram.ScramLoginModule",),
    "SCRAM-SHA-512": (f"{_PACKAGE}scram.ScramLoginModule",),
    "OAUTHBEARER": (f"{_PACKAGE}oauthbearer.OAuthBearerLoginModule",),
}
_OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    "PLAIN": frozenset({"username", "password"}),
    "SCRAM-SHA-256": frozenset({"username", "password", "tokenauth"}),
    "SCRAM-SHA-512": frozenset({"username", "password", "tokenauth"}),
    "OAUTHBEARER": frozenset({"clientId", "clientSecret", "scope"}),
}
_FLAGS: Final = frozenset({"required", "requisite", "sufficient", "optional"})
_TOKEN: Final = re.compile(r'\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<mark>[=;])|(?P<bare>[^\s"=;]+))', re.S)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_EXTENSION: Final = "extension_"


class Credentials(NamedTuple):
    """Who logs in. ``extensions``: SASL extensions of OAUTHBEARER; ``token_auth``: SCRAM with a delegation token."""

    username: str
    password: Secret
    client_id: str
    client_secret: Secret
    scope: str
    extensions: tuple[tuple[str, str], ...] = ()
    token_auth: bool = False


def credentials(settings: Security) -> Credentials:
    """What the settings say; RefusedError where ``sasl.jaas.config`` cannot be used."""
    text = settings.sasl_jaas_config.reveal()
    if not text:
        return Credentials(
            settings.sasl_username,
            settings.sasl_password,
            settings.sasl_oauthbearer_client_credentials_client_id,
            settings.sasl_oauthbearer_client_credentials_client_secret,
            settings.sasl_oauthbearer_scope,
        )
    options = _options(text, settings.sasl_mechanism)
    return Credentials(
        options.get("username", ""),
        Secret(options.get("password", "")),
        options.get("clientId", settings.sasl_oauthbearer_client_credentials_client_id),
        Secret(options["clientSecret"])
        if "clientSecret" in options
        else settings.sasl_oauthbearer_client_credentials_client_secret,
        options.get("scope", settings.sasl_oauthbearer_scope),
        tuple((key[len(_EXTENSION) :], value) for key, value in options.items() if key.startswith(_EXTENSION)),
        options.get("tokenauth", "").lower() == "true",
    )


def _options(text: str, mechanism: str) -> dict[str, str]:
    """The options of the one login module that is there."""
    tokens = _tokens(text)
    modules = _MODULES[mechanism]
    if len(tokens) < 2 or tokens[0][0] == "mark" or tokens[1][1].lower() not in _FLAGS:
        raise RefusedError("not Java's syntax", f'Write {modules[0]} required key="value" ...;')
    if tokens[0][1] not in modules:
        raise RefusedError(f"its login module is not that of {mechanism}", f"Use {modules[0]}")
    options = _pairs(tokens[2:])
    for key in options:
        if key not in _OPTIONS[mechanism] and not (mechanism == "OAUTHBEARER" and key.startswith(_EXTENSION)):
            # What stands before an equals sign may be a piece of a password without quotes.
            what = f"the option {key}" if any(key in names for names in _OPTIONS.values()) else "an option"
            raise RefusedError(f"{what} is not known", f"Use {', '.join(sorted(_OPTIONS[mechanism]))}")
    return options


def _pairs(tokens: list[tuple[str, str]]) -> dict[str, str]:
    options: dict[str, str] = {}
    at = 0
    while at < len(tokens) and tokens[at] != ("mark", ";"):
        key, equals, value = (*tokens[at : at + 3], ("", ""), ("", ""))[:3]
        if key[0] == "mark" or equals != ("mark", "=") or value[0] not in ("bare", "quoted"):
            raise RefusedError("not Java's syntax: an option is no key=value", "Put its value in double quotes")
        options[key[1]] = value[1]
        at += 3
    if at != len(tokens) - 1:
        raise RefusedError("not one login module that ends with a semicolon", "Write one, and ; behind it")
    return options


def _tokens(text: str) -> list[tuple[str, str]]:
    """(kind, text) of quoted texts, bare words and the marks = and ;."""
    found = []
    at = 0
    text = text.strip()
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise RefusedError("not Java's syntax: a double quote is not closed", "Close it")
        kind = token.lastgroup or ""
        value = token[kind]
        if kind == "quoted":
            value = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), value, flags=re.S)
        found.append((kind, value))
        at = token.end()
    return found
