"""``send()`` of a record that needs nothing but its bytes, in one step."""

from collections.abc import Mapping
from typing import Any

from ingestd.hotpath.handover import Handover, Outgoing

class FastSend:
    """The quick way into a Handover, from any thread."""

    def __init__(
        self,
        handover: Handover,
        known: Mapping[str, Any],
        owner: Any,
        future_class: type[Outgoing],
        sure_bytes: int,
    ) -> None:
        """``known``: a dict from names to what has ``index``, ``open`` and ``count`` of a topic.

        ``sure_bytes``: ``Outgoing.size_bytes`` up to which a record is surely not too large.
        """
    def send(self, record: Any, callback: Any) -> Any:
        """The record's future, handed over; None: not taken, go the slow way.

        Bytes go as they are, text as UTF-8.
        """
