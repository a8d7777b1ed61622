"""A secret goes where it must and shows itself nowhere."""

import logging
import traceback

import msgspec
import pytest
from msgspec import Struct

from ingestd.secret import Secret

CANARY = "hunter2"


class Holder(Struct, frozen=True):
    password: Secret | None


@pytest.mark.parametrize(
    "text",
    [
        str(Secret(CANARY)),
        repr(Secret(CANARY)),
        f"{Secret(CANARY)}",
        f"{Secret(CANARY):>20}",
        "%s %r" % (Secret(CANARY), Secret(CANARY)),  # noqa: UP031 (as logging formats)
        repr(Holder(Secret(CANARY))),
        repr({"a": [Secret(CANARY)]}),
        repr(list(Secret(CANARY).__rich_repr__())),  # type: ignore[call-overload]
    ],
)
def test_it_is_shown_as_stars(text: str) -> None:
    assert CANARY not in text
    assert "***" in text


def test_a_traceback_and_a_log_line_do_not_hold_it(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(CANARY)
    try:
        raise ValueError(secret)
    except ValueError as error:
        logging.getLogger(__name__).warning("failed with %s", secret, exc_info=True)
        assert CANARY not in "".join(traceback.format_exception(error))
    assert "failed with ***" in caplog.text
    assert CANARY not in caplog.text


def test_it_is_carried_whole() -> None:
    holder = Holder(Secret(CANARY))
    carried = msgspec.json.decode(msgspec.json.encode(holder), type=Holder)
    assert carried == holder
    assert carried.password is not None
    assert carried.password.reveal() == CANARY
    assert Secret("a") != Secret("b")
    assert hash(Secret("a")) == hash(Secret("a"))
