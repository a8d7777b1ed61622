"""Format `raw`."""

import pytest

from ingestd.hotpath.intake import ACCEPTED, READ_MORE, REJECTED
from ingestd.metrics import Rejected
from tests.reference.rig import NOW_MS, TICK_MS, Rig


def test_a_datagram_is_a_record() -> None:
    rig = Rig(partitions=1)
    datagram = rig.intake.datagram_fed(rig.listener("raw"), b"/run/x", False)
    values = [b"a\nb\r\n", bytes(range(256)), b"\n", b"x" * 65_535]
    flags = datagram.feed(values, NOW_MS, TICK_MS)
    assert flags & ACCEPTED
    assert not flags & (REJECTED | READ_MORE)
    assert rig.values() == values
    rig.check()


def test_nothing_in_it() -> None:
    rig = Rig()
    datagram = rig.intake.datagram_fed(rig.listener("raw"), b"", False)
    assert datagram.feed([b"", b"v", b""], NOW_MS, TICK_MS) & REJECTED
    assert rig.values() == [b"v"]
    assert rig.rejected() == {Rejected.EMPTY: 2}
    rig.check()


def test_key_of_the_path() -> None:
    rig = Rig()
    datagram = rig.intake.datagram_fed(rig.listener("raw", key=1), b"/run/ingestd/log.sock", False)
    datagram.feed([b"v"], NOW_MS, TICK_MS)
    assert [(item.key, item.kind) for item in rig.drain()] == [(b"/run/ingestd/log.sock", 3)]


def test_not_on_streams() -> None:
    rig = Rig()
    with pytest.raises(ValueError, match="raw"):
        rig.stream("raw")
