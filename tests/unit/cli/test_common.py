"""What the commands share: how an error reads."""

import pytest

from ingestd.cli.common import REASONS, error_text
from ingestd.client.errors import rejected

UNKNOWN = REASONS["topic_unknown"]


@pytest.mark.parametrize("told", ["", "no such topic", UNKNOWN])
def test_a_reason_is_explained_once(told: str) -> None:
    assert error_text(rejected(8, 3, told)).count(UNKNOWN) == 1


def test_an_error_without_a_reason_stands_for_itself() -> None:
    assert error_text(ValueError("two\nlines")) == "two\\nlines"
