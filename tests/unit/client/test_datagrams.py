from ingestd.client.datagrams import DatagramSession
from ingestd.client.encoding import decode_records, encode_record
from ingestd.client.errors import RecordTooLargeException
from ingestd.client.frame import FrameReader
from ingestd.client.future import Future, Owner
from ingestd.client.session import State


def add(session: DatagramSession) -> Future:
    future = Future(Owner(), "topic", 1, -1, 1, None)
    session.add([(encode_record(b"v", None, None, 1, ()), future)])
    return future


def test_a_datagram_is_one_frame_with_the_topics_name_and_no_greeting() -> None:
    session = DatagramSession(1400)
    future = add(session)
    session.connected()
    assert session.state is State.OPEN
    [data] = session.output(1)
    [(_, flags, body)] = FrameReader().feed(bytes(data))
    assert decode_records(body, flags).topic == "topic"
    session.wrote(len(data))
    assert future.result(0).offset == -1
    assert session.idle


def test_the_largest_record_fits_the_largest_datagram() -> None:
    session = DatagramSession(1400)
    session.connected()
    assert session.grant is not None
    limit = session.grant.record_bytes_max
    record = encode_record(bytes(limit - 1), b"k", 0, 1, ())
    session.add([(record, Future(Owner(), "t" * 249, 1, -1, 1, None))])
    assert len(session.output(1)[0]) == 1400


def test_a_datagram_that_the_kernel_refuses_fails_alone() -> None:
    session = DatagramSession(1400)
    session.connected()
    first, second = add(session), add(session)
    session.refuse(RecordTooLargeException("too large"))
    assert isinstance(first.exception(0), RecordTooLargeException)
    assert not second.done()
    session.wrote(len(session.output(1)[0]))
    assert second.done()
    assert session.output_bytes == 0


def test_what_was_not_sent_waits_for_the_next_connection() -> None:
    session = DatagramSession(1400)
    session.connected()
    future = add(session)
    session.disconnected()
    assert not future.done()
    session.connected()
    session.wrote(len(session.output(1)[0]))
    assert future.done()
