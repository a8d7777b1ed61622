"""Answers of a broker with bytes that it should not have sent: read, or refused with the one error for that."""

import io
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kio.serial import entity_writer

from ingestd.kafka import describe, messages, produce
from ingestd.kafka.errors import ProtocolError

_DECODERS: Final[dict[int, tuple[str, str, tuple[Callable[[int, bytes, int], object], ...]]]] = {
    produce.API_KEY: ("produce", "Produce", (produce.decode,)),
    messages.METADATA: ("metadata", "Metadata", (messages.metadata_response, describe.topics_response)),
    messages.API_VERSIONS: ("api_versions", "ApiVersions", (messages.api_versions_response,)),
    messages.INIT_PRODUCER_ID: ("init_producer_id", "InitProducerId", (messages.init_producer_id_response,)),
    messages.DESCRIBE_CONFIGS: ("describe_configs", "DescribeConfigs", (describe.settings_response,)),
    messages.SASL_HANDSHAKE: (
        "sasl_handshake",
        "SaslHandshake",
        (lambda _, data, at: messages.sasl_handshake_response(data, at),),
    ),
    messages.SASL_AUTHENTICATE: ("sasl_authenticate", "SaslAuthenticate", (messages.sasl_authenticate_response,)),
}
_VERSIONS: Final = {**messages.SUPPORTED, produce.API_KEY: sorted(produce.VERSIONS)}


@cache
def _schema(api_key: int, version: int) -> tuple[Any, bytes]:
    """kio's class of the answer, and what stands between the correlation id and the body."""
    package, name, _ = _DECODERS[api_key]
    entity = getattr(import_module(f"kio.schema.{package}.v{version}.response"), f"{name}Response")
    return entity, b"\0" if entity.__header_schema__.__version__ >= 1 else b""


@st.composite
def bent_answers(draw: st.DrawFn, api_key: int, version: int) -> bytes:
    """A legal answer in which some bytes are others, or missing: lengths that lie, nulls, codes that nobody knows."""
    entity, head = _schema(api_key, version)
    out = io.BytesIO()
    entity_writer(entity)(out, draw(st.from_type(entity)))
    data = bytearray(head + out.getvalue())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        piece = draw(
            st.sampled_from(
                (b"", b"\0", b"\xff", b"\xff" * 2, b"\xff" * 4, b"\xff" * 4 + b"\x0f", b"\x7f" + b"\xff" * 3)
            )
        )
        data[at : at + draw(st.integers(0, 4))] = piece
    return bytes(data)


@pytest.mark.parametrize("api_key", _DECODERS)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(random=st.data())
def test_a_bent_answer_is_read_or_refused(api_key: int, random: st.DataObject) -> None:
    version = random.draw(st.sampled_from(_VERSIONS[api_key]))
    data = random.draw(st.one_of(bent_answers(api_key, version), st.binary(max_size=100)))
    for decode in _DECODERS[api_key][2]:
        try:
            decode(version, data, 0)
        except ProtocolError:
            continue
