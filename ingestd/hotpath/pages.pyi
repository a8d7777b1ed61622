"""Map of the arena's free pages."""

class PageMap:
    """Free runs of ``page_count`` pages, all free at first."""

    def __init__(self, page_count: int) -> None: ...
    def lowest(self, pages: int) -> int:
        """First page of the lowest free run of that length, or -1."""
    def mark(self, first: int, pages: int, free: bool) -> None:
        """Marks pages free or taken; ValueError outside the map."""
