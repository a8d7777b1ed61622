"""One big customer has a partition of its own, as in Kafka: The Definitive Guide, chapter 3.

Banana sends more than all others together. Whoever shares its partition would wait behind it, so it gets the last one,
and everybody else is spread over the rest by Kafka's own hash. In the daemon's configuration:

    [topics.orders]
    partitioner.class = "banana_partitioner:BananaPartitioner"

with this file's folder on PYTHONPATH.
"""

from collections.abc import Sequence

from ingestd.partitioner import Partitioner, partition_for_key

BIG_CUSTOMER = b"Banana"
REFUSED = -1


class BananaPartitioner(Partitioner):
    """Expects the customer's name as the key; a record without one is refused and counted."""

    def partition(
        self,
        topic: str,  # noqa: ARG002 (one rule for every topic)
        keys: list[bytes | None],
        values: list[bytes | None],  # noqa: ARG002 (the key says it all)
        partition_count: int,
    ) -> Sequence[int]:
        others = max(partition_count - 1, 1)
        last = partition_count - 1
        return [
            REFUSED if key is None else last if key == BIG_CUSTOMER else partition_for_key(key, others) for key in keys
        ]
