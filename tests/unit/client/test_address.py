import pytest

from ingestd.client.address import Address, parse


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix-stream:/run/ingestd/app.sock", Address("unix-stream", "/run/ingestd/app.sock")),
        ("unix-datagram:/run/a:b.sock", Address("unix-datagram", "/run/a:b.sock")),
        ("udp:127.0.0.1:5514", Address("udp", "", "127.0.0.1", 5514)),
        ("udp:[::1]:5514", Address("udp", "", "::1", 5514)),
        ("udp:gateway-7.example:1", Address("udp", "", "gateway-7.example", 1)),
        ("unix-stream:/" + "x" * 106, Address("unix-stream", "/" + "x" * 106)),
    ],
)
def test_an_address_is_read_and_written_back(text: str, address: Address) -> None:
    assert parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("", "no kind in front"),
        ("/run/app.sock", "write unix-stream:/PATH"),
        ("tcp:localhost:9092", "not supported yet"),
        ("unix:/run/app.sock", "'unix' is no kind"),
        ("unix-stream:", "has no path"),
        ("unix-stream:app.sock", "begin it with /, like unix-stream:/run/ingestd/app.sock"),
        ("unix-stream:@name", "not absolute"),
        ("unix-datagram:/run/ingestd/", "names a directory"),
        ("unix-stream:/a\0b", "NUL"),
        ("unix-stream:/" + "ü" * 54, "109 bytes"),
        ("udp:127.0.0.1", "has no port"),
        ("udp:[::1]", "has no port"),
        ("udp:::1:5514", "write udp:[::1]:5514"),
        ("udp:[host]:1", "write udp:host:1"),
        ("udp::5514", "has no host"),
        ("udp:a b:5514", "is no host"),
        ("udp:host:0", "from 1 to 65535"),
        ("udp:host:65536", "from 1 to 65535"),
        ("udp:host:", "from 1 to 65535"),
        ("udp:host:٣", "from 1 to 65535"),
    ],
)
def test_a_wrong_address_is_refused_with_the_cure(text: str, cure: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert cure in str(caught.value)
