"""What a login carries: the password as its file has it at that moment."""

import asyncio
from pathlib import Path
from random import Random

import pytest

from ingestd.config import security as config
from ingestd.producer.common import SystemClock
from ingestd.producer.network.security import Security
from ingestd.producer.network.tokens import CredentialsError


async def first(path: Path) -> bytes:
    settings = config.Security(
        security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username="u", sasl_login_password_file=str(path)
    )
    mechanism = await Security(settings, asyncio.get_running_loop(), SystemClock(), Random(0)).mechanism()
    assert mechanism is not None
    return mechanism.first()


@pytest.mark.parametrize("content", [b"hunter2", b"hunter2\n", b"hunter2\r\n"])
def test_one_line_end_is_no_part_of_a_password(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "password").write_bytes(content)
    assert asyncio.run(first(tmp_path / "password")) == b"\0u\0hunter2"


@pytest.mark.parametrize("content", [b"", b"\n", b"hunter\0two", b"hunter\xff", b"hunter" * 200_000])
def test_what_holds_no_password_is_said_without_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "password").write_bytes(content)
    with pytest.raises(CredentialsError, match=r"sasl\.login\.password\.file.*\. (Write the|Name a)") as caught:
        asyncio.run(first(tmp_path / "password"))
    assert "hunter" not in str(caught.value)
