"""The settings of TLS and SASL as the daemon sees them; ``model.Producer`` has them among its own.

Empty means not given: a string of "", a secret of "", a list without entries.
"""

from typing import Final, Literal

from msgspec import Struct

from ingestd.secret import Secret

NO_SECRET: Final = Secret("")

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
StoreType = Literal["", "PEM", "PKCS12"]


class Security(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Kafka's settings by Kafka's names, dots written as underscores; ``sasl_username``, ``sasl_password``
    and ``sasl_login_password_file`` are ours.

    A store's type of "" is told from the file's content. Times in ms unless the name says seconds.
    """

    security_protocol: SecurityProtocol = "PLAINTEXT"
    ssl_protocol: Literal["TLSv1.3", "TLSv1.2", "TLS"] = "TLSv1.3"
    ssl_enabled_protocols: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")
    ssl_cipher_suites: tuple[str, ...] = ()
    ssl_endpoint_identification_algorithm: Literal["https", ""] = "https"
    ssl_truststore_type: StoreType = ""
    ssl_truststore_location: str = ""
    ssl_truststore_password: Secret = NO_SECRET
    ssl_truststore_certificates: Secret = NO_SECRET
    """PEM text. Kafka's type for it is password, too: it is nobody's business to whom we talk."""
    ssl_keystore_type: StoreType = ""
    ssl_keystore_location: str = ""
    ssl_keystore_password: Secret = NO_SECRET
    ssl_keystore_key: Secret = NO_SECRET
    ssl_keystore_certificate_chain: Secret = NO_SECRET
    ssl_key_password: Secret = NO_SECRET
    sasl_mechanism: str = "GSSAPI"
    sasl_username: str = ""
    sasl_password: Secret = NO_SECRET
    sasl_login_password_file: str = ""
    """Read at every login, where a password given once would be the one of the daemon's start."""
    sasl_jaas_config: Secret = NO_SECRET
    sasl_oauthbearer_token_endpoint_url: str = ""
    sasl_oauthbearer_scope: str = ""
    sasl_oauthbearer_client_credentials_client_id: str = ""
    sasl_oauthbearer_client_credentials_client_secret: Secret = NO_SECRET
    sasl_login_connect_timeout_ms: int = 10_000
    sasl_login_read_timeout_ms: int = 10_000
    sasl_login_retry_backoff_ms: int = 100
    sasl_login_retry_backoff_max_ms: int = 10_000
    sasl_login_refresh_window_factor: float = 0.8
    sasl_login_refresh_window_jitter: float = 0.05
    sasl_login_refresh_min_period_seconds: int = 60
    sasl_login_refresh_buffer_seconds: int = 300

    @property
    def uses_tls(self) -> bool:
        return self.security_protocol in ("SSL", "SASL_SSL")

    @property
    def uses_sasl(self) -> bool:
        return self.security_protocol in ("SASL_PLAINTEXT", "SASL_SSL")

    @property
    def has_secrets(self) -> bool:
        """Whether this process knows something that must not end in a core dump."""
        return self.uses_sasl or self.uses_tls
