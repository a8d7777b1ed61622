"""``admin.listen``: which addresses it takes, and what is said of others."""

import pytest

from ingestd.config import admin_address
from ingestd.config.admin_address import AdminAddress
from ingestd.config.checks import notes
from ingestd.config.faults import RefusedError
from ingestd.config.reader import parse
from ingestd.errors import ConfigurationError

REST = (
    '[producer]\nbootstrap.servers = ["k:1"]\n'
    '[[listeners]]\nname = "{}"\nlisten = "unix-stream:/run/i/a.sock"\nformat = "lines"\ntopic = "t"\n'
)


def configuration(listen: str, listener: str = "l") -> str:
    return f'[daemon]\nadmin.listen = "{listen}"\n{REST.format(listener)}'


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9464", AdminAddress("", "127.0.0.1", 9464)),
        ("[::1]:9464", AdminAddress("", "::1", 9464)),
        ("localhost:80", AdminAddress("", "localhost", 80)),
        ("unix-stream:/run/i/admin.sock", AdminAddress("/run/i/admin.sock", "", 0)),
    ],
)
def test_an_address_is_read_and_written_alike(text: str, address: AdminAddress) -> None:
    assert admin_address.parse(text) == address
    assert str(address) == text
    assert parse(configuration(text)).daemon.admin_listen == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("9464", "has no port"),
        ("127.0.0.1", "has no port"),
        ("::1:9464", "needs brackets"),
        (":9464", "has no host"),
        ("127.0.0.1:0", "is no port"),
        ("unix-stream:admin", "not absolute"),
        ("unix-datagram:/run/i/admin", "needs a stream"),
    ],
)
def test_others_are_refused_with_the_way_to_write_it(text: str, reason: str) -> None:
    with pytest.raises(RefusedError) as caught:
        admin_address.parse(text)
    assert reason in caught.value.text
    assert "udp" not in caught.value.text
    assert '"127.0.0.1:9464"' in caught.value.cure


def test_without_the_setting_there_is_no_admin_process() -> None:
    assert parse(REST.format("l")).daemon.admin_listen is None
    assert parse(REST.format("admin")).listeners[0].name == "admin"


@pytest.mark.parametrize(
    ("listen", "listener", "key"),
    [
        ("127.0.0.1:9464", "admin", "listeners.admin.name"),
        ("unix-stream:/run/i/a.sock", "l", "daemon.admin.listen"),
    ],
)
def test_it_may_not_clash_with_a_listener(listen: str, listener: str, key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(configuration(listen, listener))
    assert [fault.key for fault in caught.value.faults] == [key]


def test_it_may_not_be_a_workers_own_path_of_a_listener() -> None:
    frames = configuration("unix-stream:/run/i/a.sock.1").replace('"lines"\ntopic = "t"', '"frames"\ntopics = ["t"]')
    parse(frames.replace("[daemon]", "[daemon]\nworkers = 1"))
    with pytest.raises(ConfigurationError, match="a path of the listener l too"):
        parse(frames.replace("[daemon]", "[daemon]\nworkers = 2"))


def test_an_open_address_is_noted() -> None:
    assert notes(parse(configuration("127.0.0.1:9464"))) == notes(parse(configuration("[::1]:1"))) == []
    assert "anybody who reaches 0.0.0.0:9464" in notes(parse(configuration("0.0.0.0:9464")))[0]
