"""The limits agree with their mirror in the record path and with each other."""

import re
from pathlib import Path

from ingestd import limits
from ingestd.client import address

MIRROR = Path(__file__).parents[2] / "ingestd/hotpath/limits.pxd"


def test_the_record_path_has_the_same_numbers() -> None:
    mirrored, _, own = MIRROR.read_text().partition("how the intake behaves")
    numbers = re.findall(r"^    (\w+) = (\d+)", mirrored, re.MULTILINE)
    assert {name: int(number) for name, number in numbers} == {name: getattr(limits, name) for name, _ in numbers}
    assert len(numbers) >= 8
    assert own


def test_the_client_has_the_same_bound_of_paths() -> None:
    assert address.PATH_BYTES_MAX == limits.UNIX_PATH_BYTES_MAX


def test_limits_fit_into_each_other() -> None:
    assert limits.LISTENERS_MAX <= 256
    assert limits.LINE_BYTES_MAX < limits.FRAME_BYTES_MAX < limits.HOLD_BYTES_MAX
    assert limits.READ_WINDOW_BYTES >= limits.DATAGRAM_BYTES_MAX
    assert limits.HEADERS_MAX * limits.HEADER_NAME_BYTES_MAX < limits.FRAME_BYTES_MAX
