"""The parent's side of an arena's life: recovers what the child would leave behind after each store, and holds it
against the model.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ingestd.hotpath.arena import Arena
from tests.model.arena_kit import NOW_MS, balanced
from tests.model.arena_life import Life, World, look
from tests.model.stepping import images_of_crashes


def recovered(image: bytes, path: Path) -> World:
    """What recovery makes of the bytes that a dead process left; fails where anything is damaged or the books do not
    balance.
    """
    path.write_bytes(image)
    arena = Arena.open(path, now_ms=NOW_MS)
    try:
        assert arena.damage == [], f"damaged: {arena.damage}"
        books = arena.ledger()
        assert balanced(arena), f"books do not balance: {books} with {arena.buffered()} buffered"
        assert books["received"] == books["accepted"] + books["rejected"], f"books do not balance: {books}"
        return look(arena)
    finally:
        arena.close()
        path.unlink()


class Watch:
    """Looks at one image after the other; raises AssertionError with the step that left something else than it may."""

    def __init__(self, life: Life, path: Path) -> None:
        self.life = life
        self.path = path
        self.number = 0
        self.reached = 0
        self.in_parts = ""
        self.images: Counter[str] = Counter()

    def see(self, image: bytes) -> None:
        """The next image of the life."""
        promise = self.life.told.read()
        if promise.number != self.number:
            assert not self.in_parts or promise.in_parts == self.number, f"{self.in_parts}: seen in parts"
            self.number, self.reached, self.in_parts = promise.number, 0, ""
        self.images[promise.step] += 1
        where = f"step {promise.number}, {promise.step}, store {self.images[promise.step]}"
        try:
            world = recovered(image, self.path)
        except AssertionError as error:
            raise AssertionError(f"{where}: {error}") from error
        allowed = (promise.stands, *promise.may)
        found = [index for index in range(min(self.reached, len(allowed) - 1), len(allowed)) if allowed[index] == world]
        assert found, f"{where}: {difference(world, allowed[-1])}"
        self.reached = found[0]
        if 0 < self.reached < len(allowed) - 1:
            self.in_parts = where


def difference(world: World, expected: World) -> str:
    """What is not as expected, by its name."""
    parts = [
        f"{name} are {found}, not {wanted}"
        for name, found, wanted in zip(World._fields, world, expected, strict=True)
        if found != wanted
    ]
    return "; ".join(parts)


def watch(path: Path, live: Callable[[Life], object]) -> Counter[str]:
    """Lets an arena in ``path`` live in a child and looks at it after each store; returns how many there were in each
    step.
    """
    life = Life(path)
    eye = Watch(life, path.with_name("image.arena"))
    for image in images_of_crashes(path, lambda: live(life), life.arena):
        eye.see(image)
    return eye.images
