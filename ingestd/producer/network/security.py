"""What a connection of this process needs to be let in: a TLS context, and a SASL exchange of its own."""

import asyncio
import ssl
from random import Random

from ingestd.config import security as config
from ingestd.config.faults import RefusedError
from ingestd.config.jaas import credentials
from ingestd.config.variables import read_file
from ingestd.kafka.sasl import Mechanism, OAuthBearer, Plain
from ingestd.kafka.scram import SaltedKeys, Scram
from ingestd.producer.common import Clock
from ingestd.producer.network.offload import in_thread
from ingestd.producer.network.tls_context import TlsContexts
from ingestd.producer.network.tokens import CredentialsError, Tokens, fetcher


class Security:
    """One per producer, shared by its brokers: certificates, salted keys and tokens are kept once."""

    def __init__(
        self, settings: config.Security, loop: asyncio.AbstractEventLoop, clock: Clock, random: Random
    ) -> None:
        self.settings = settings
        self._loop = loop
        self._lock = asyncio.Lock()
        self._contexts = TlsContexts(settings) if settings.uses_tls else None
        self._keys: SaltedKeys = {}
        self._keys_password = ""
        """The password that the salted keys were made of."""
        self._tokens: Tokens | None = None
        if settings.uses_sasl:
            self._login = credentials(settings)
            if settings.sasl_mechanism == "OAUTHBEARER":
                self._tokens = Tokens(settings, fetcher(settings, self._login), loop, clock, random)

    async def tls_context(self) -> ssl.SSLContext | None:
        """For a connection that is about to be made; None: it is not to be encrypted. StoreError, as `TlsContexts`."""
        contexts = self._contexts
        if contexts is None:
            return None
        async with self._lock:
            return await in_thread(self._loop, contexts.get, "ingestd-tls") if contexts.stale() else contexts.get()

    async def mechanism(self) -> Mechanism | None:
        """A fresh exchange; None: nobody logs in. CredentialsError: there is no token or password now."""
        if not self.settings.uses_sasl:
            return None
        login = self._login
        if self._tokens is not None:
            return OAuthBearer(await self._tokens.get(), login.extensions)
        name = self.settings.sasl_mechanism
        password = self._password()
        if name == "PLAIN":
            return Plain(login.username, password)
        if password != self._keys_password:
            # not emptied: exchanges that are under way may still put theirs into the old one
            self._keys, self._keys_password = {}, password
        return Scram(name, login.username, password, self._keys, token_auth=login.token_auth)

    def _password(self) -> str:
        path = self.settings.sasl_login_password_file
        if not path:
            return self._login.password.reveal()
        try:
            text = read_file(path)
        except RefusedError as refused:
            raise CredentialsError(f"sasl.login.password.file: {refused}") from None
        if not text or "\0" in text:
            cure = "Write the password, and nothing else, into it"
            raise CredentialsError(f"sasl.login.password.file = {path} does not hold a password. {cure}")
        return text

    def refused(self, secret: str) -> str:
        """A login that sent ``secret`` was refused: a token is not used again. Returns what may be to blame, see
        `Tokens.forget`."""
        return self._tokens.forget(secret) if self._tokens is not None else ""

    def close(self) -> None:
        if self._tokens is not None:
            self._tokens.close()
