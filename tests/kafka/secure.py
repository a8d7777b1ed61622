"""Listeners of a real broker that speak TLS and want a login: their properties, their users, their certificates.

Users are made and changed at run time (`set_password`), as an operator does with kafka-configs; StorageTool's
``--add-scram`` is for clusters whose brokers log in with SCRAM among themselves, which DIRECT does not.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from tests.certificates import Authority, Issued
from tests.kafka.cluster import Cluster

SCRAM_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
MECHANISMS = {"SCRAM-SHA-256": ScramMechanism.SCRAM_SHA_256, "SCRAM-SHA-512": ScramMechanism.SCRAM_SHA_512}


def tls_properties(
    listener: str, certificate: Issued, folder: Path, client_ca: Authority | None = None
) -> dict[str, str]:
    """What a listener needs to speak TLS; ``client_ca``: it wants client certificates of that authority."""
    folder.mkdir(parents=True, exist_ok=True)
    place = f"listener.name.{listener.lower()}.ssl."
    found = {
        f"{place}keystore.type": "PEM",
        f"{place}keystore.location": str(certificate.pem(folder / f"{listener.lower()}.pem")),
    }
    if client_ca is not None:
        found[f"{place}client.auth"] = "required"
        found[f"{place}truststore.type"] = "PEM"
        found[f"{place}truststore.location"] = str(client_ca.pem(folder / f"{listener.lower()}-ca.pem"))
    return found


def scram_properties(listener: str, mechanisms: Sequence[str] = tuple(MECHANISMS)) -> dict[str, str]:
    """What a listener needs to take SCRAM logins."""
    place = f"listener.name.{listener.lower()}."
    return {
        f"{place}sasl.enabled.mechanisms": ",".join(mechanisms),
        **{f"{place}{name.lower()}.sasl.jaas.config": SCRAM_MODULE for name in mechanisms},
    }


def set_password(cluster: Cluster, user: str, password: str, mechanism: str = "SCRAM-SHA-512") -> None:
    """Makes a user, or changes the password of one."""
    info = ScramCredentialInfo(MECHANISMS[mechanism], 4096)
    alteration = UserScramCredentialUpsertion(user, info, password.encode())
    cluster.admin.alter_user_scram_credentials([alteration])[user].result(30)


def write_acl(user: str, topic: str) -> AclBinding:
    """Allows ``user`` to write to ``topic``."""
    return AclBinding(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        AclOperation.WRITE,
        AclPermissionType.ALLOW,
    )


def client_settings(authority_file: Path, user: str, password: str, **changes: str) -> Mapping[str, str]:
    """``[producer]`` of a daemon that logs in with SCRAM over TLS."""
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": password,
        "ssl.truststore.location": str(authority_file),
        **changes,
    }
