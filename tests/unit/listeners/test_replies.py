"""The bounded queue of replies."""

from hypothesis import given
from hypothesis import strategies as st

from ingestd.listeners.replies import LIMIT_BYTES, PAUSE_BYTES, Replies


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=40), st.data())
def test_what_goes_in_comes_out_in_order_whatever_the_socket_takes(frames: list[bytes], data: st.DataObject) -> None:
    replies = Replies()
    for reply in frames:
        replies.add(reply)
    sent = b""
    while chunk := replies.next_chunk():
        count = data.draw(st.integers(1, len(chunk)))
        sent += chunk[:count]
        replies.sent(count)
    assert sent == b"".join(frames)
    assert replies.size_bytes == 0


def test_thresholds() -> None:
    replies = Replies()
    replies.add(bytes(PAUSE_BYTES))
    assert (replies.over_pause, replies.under_pause) == (False, False)
    replies.add(b"x")
    assert (replies.over_pause, replies.under_pause) == (True, False)
    replies.next_chunk()
    replies.sent(PAUSE_BYTES // 2 + 1)
    assert (replies.over_pause, replies.under_pause) == (False, True)
    replies.add(bytes(LIMIT_BYTES))
    assert replies.over_limit
    replies.clear()
    assert not replies.next_chunk()
