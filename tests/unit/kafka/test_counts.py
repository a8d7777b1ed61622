"""Counts that lie end before kio takes memory for them; whatever kio reads passes."""

from typing import Any

import pytest

from ingestd.kafka import messages
from ingestd.kafka.counts import check_counts
from ingestd.kafka.errors import ProtocolError
from tests.unit.kafka.test_newer import ANSWERS, UNKNOWN_TAGS, newer_metadata, written

LYING = [b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\x7f", b"\x40"]
"""Compact counts: 2^32 - 2, 2^28 - 2, and more than there are bytes."""


@pytest.mark.parametrize("entity", ANSWERS, ids=lambda entity: f"{type(entity).__name__}-{entity.__version__}")
def test_what_kio_has_written_passes(entity: Any) -> None:
    check_counts(type(entity), written(entity), 0)


def test_unknown_tagged_fields_are_skipped() -> None:
    assert messages.metadata_response(12, newer_metadata(0), 0).cluster_id == "c"


@pytest.mark.parametrize("count", LYING, ids=bytes.hex)
def test_a_count_that_lies_is_refused(count: bytes) -> None:
    """At each level: kio would abort the process for the first of them."""
    fixed = bytes(2)
    with pytest.raises(ProtocolError, match="array longer"):
        messages.api_versions_response(3, fixed + count + bytes(60), 0)
    whole = newer_metadata(0)
    replicas = whole.index(b"\1\1\1" + UNKNOWN_TAGS)
    with pytest.raises(ProtocolError):
        messages.metadata_response(12, whole[:replicas] + count + whole[replicas + 1 :], 0)


@pytest.mark.parametrize("count", [0x7FFFFFFF, 0x10000000, 64])
def test_so_is_one_of_an_older_version(count: int) -> None:
    with pytest.raises(ProtocolError, match="array longer"):
        messages.api_versions_response(2, bytes(2) + count.to_bytes(4) + bytes(60), 0)


@pytest.mark.parametrize("count", LYING, ids=bytes.hex)
def test_so_is_one_in_a_tagged_field(count: bytes) -> None:
    """supported_features of ApiVersions 3 is an array with tag 0."""
    size = len(count) + 3
    answer = bytes(2) + b"\1" + bytes(4) + b"\1" + b"\0" + bytes([size]) + count + bytes(3)
    with pytest.raises(ProtocolError):
        messages.api_versions_response(3, answer, 0)
