"""Reading a control group's files."""

from ingestd.supervisor.memory import parse_group


def test_only_what_cannot_be_reclaimed_is_in_use() -> None:
    statistics = "anon 100\nfile 5000\nshmem 20\nslab_unreclaimable 3\nslab_reclaimable 900\n"
    assert parse_group("1000\n", statistics) == (1000, 123)


def test_a_group_without_a_limit_says_nothing() -> None:
    assert parse_group("max\n", "anon 100\n") == (0, 0)
