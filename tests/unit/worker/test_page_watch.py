"""When those who wait for pages are told to try again."""

from ingestd.worker.page_watch import PageWatch


def test_more_pages_than_when_they_were_stopped_are_told_once() -> None:
    watch = PageWatch()
    assert not watch.look(100, awaited=False)
    assert not watch.look(3, awaited=True)
    assert watch.look(50, awaited=True)
    assert not watch.look(50, awaited=True)
    assert not watch.look(20, awaited=True)
    assert watch.look(21, awaited=True)


def test_pages_that_came_back_before_the_reader_was_in_line_are_not_forgotten() -> None:
    watch = PageWatch()
    watch.look(0, awaited=False)
    assert not watch.look(50, awaited=False)
    assert watch.look(50, awaited=True)
