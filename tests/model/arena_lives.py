"""Lives for an arena: one that makes every step once, and random ones."""

import random

from tests.model.arena_life import Item, Life, ModelBatch

STEPS = {
    "cluster id", "topic add", "topic update", "session open", "session close", "session confirm",
    "session disconnected", "read", "resume", "lines", "datagrams", "kernel drops", "seal", "compress", "stamp",
    "dispatch", "restamp", "attempted", "done", "fail", "repair", "split", "possible duplicates", "absorb",
}  # fmt: skip


def every_step(life: Life) -> None:
    """Each step at least once, most on batches with neighbours."""
    life.set_cluster_id("lkc-1")
    life.topic_add("a third one")
    life.topic_update(0, b"i" * 16, 2)
    life.session_open(b"s" * 16)
    life.read([(0, b"a", b"one"), (1, b"b", b"two"), (0, b"a", b"three")])
    life.read([(0, b"a", b"four"), None, (1, b"c", b"six")], repeated=2)
    life.read([], repeated=3)
    life.lines_read([b"first", b"", b"third"][::2])
    life.session_confirm(5)
    life.seal()
    life.read([(0, b"a", b"x" * 900), (0, b"a", b"y" * 900), (1, b"z", b"z")])
    life.seal()
    zero, one, clicks = life.batches[0, 0], life.batches[0, 1], life.batches[1, 0]
    life.compress(zero[1])
    life.stamp(zero[0], (77, 0, 0), 0, "dispatch")
    life.stamp(zero[1], (77, 0, 3), 0, "dispatch")
    life.stamp(one[0], (77, 0, 0), 0, "stamp")
    life.attempted(one[0], 1_700_000_000_005)
    life.attempted(zero[0], 1_700_000_000_006)
    life.stamp(one[0], (77, 1, 0), 1, "restamp")
    life.possible_duplicates(2)
    life.done(zero[0])
    life.split(zero[0], 1)
    life.repair(one[0], {0})
    # More than a batch in one read: it is sealed and opened anew within.
    life.read([(0, b"k", bytes([65 + index]) * 700) for index in range(6)])
    life.fail(clicks[0])
    life.session_disconnected(1_700_000_000_007)
    life.session_disconnected(0)
    life.stamp(zero[0], (78, 0, 0), 1, "dispatch")
    life.done(zero[0], viewed=True)
    life.absorb(b"u" * 16)
    life.set_cluster_id("lkc-1234567890123456789")
    life.session_close()
    life.lines_read([b"the last"])
    life.datagrams_read([b"one", b"two"])
    life.kernel_dropped(3)
    life.session_open(b"v" * 16)
    while not life.waiting:
        life.read([(0, b"", bytes(2900))] * 6)
    for batch in life.all_batches():
        life.fail(batch)
    life.resume()


class Chance:
    """Draws the steps of a random life."""

    def __init__(self, life: Life, seed: int) -> None:
        self.life = life
        self.chosen = random.Random(seed)
        self.sessions = 0
        self.number = 0

    def step(self) -> None:
        """Any step that is possible now; what gives pages back where they are short."""
        life, chosen = self.life, self.chosen
        if life.row < 0:
            self.sessions += 1
            life.session_open(self.sessions.to_bytes(16, "big"))
            return
        batches = life.all_batches()
        if life.arena.free_pages < 2 or life.waiting:
            life.seal()
            for batch in life.all_batches():
                self.settle(batch)
            if life.waiting:
                life.resume()
        elif chosen.random() < 0.5:
            self.intake()
        elif batches and chosen.random() < 0.9:
            self.send(chosen.choice(batches))
        else:
            self.tables()

    def intake(self) -> None:
        """A read, or the end of what is open."""
        life, chosen = self.life, self.chosen
        kind = chosen.randrange(6)
        last, rejections, _ = life.sessions[life.session]
        if kind == 0:
            life.seal()
        elif kind == 1 and life.arena.free_pages > 4:
            read = chosen.choice([life.lines_read, life.datagrams_read])
            read([b"l" * chosen.randrange(1, 60) for _ in range(chosen.randrange(1, 4))])
        else:
            size = chosen.choice([3, 3, 3, 40, 40, 40, 700, 2900])
            items: list[Item] = []
            for _ in range(chosen.randrange(1, 7)):
                value = chosen.randbytes(chosen.randrange(size))
                items.append((chosen.randrange(2), b"k" * chosen.randrange(5), value))
            if len(rejections) < 15 and chosen.random() < 0.2:
                items[chosen.randrange(len(items))] = None
            life.read(items, repeated=min(last, chosen.choice([0, 0, 0, 2])))

    def send(self, batch: ModelBatch) -> None:
        """What a producer may do to that batch now."""
        life, chosen = self.life, self.chosen
        self.number += 1
        numbers = (chosen.randrange(1 << 40), chosen.randrange(1 << 15), chosen.randrange(1 << 31))
        flags = chosen.randrange(2)
        stamped = batch.line.stamped
        kind = chosen.randrange(6)
        if kind == 0 and not stamped and not batch.compressed:
            life.compress(batch)
        elif kind <= 2 and not stamped:
            life.stamp(batch, numbers, flags, chosen.choice(["stamp", "dispatch"]))
        elif kind == 1:
            life.stamp(batch, numbers, flags, "restamp")
        elif kind == 2:
            life.attempted(batch, 1_700_000_000_000 + self.number)
        elif kind == 3 and len(batch.records) > 1:
            life.repair(batch, set(chosen.sample(range(len(batch.records)), chosen.randrange(1, len(batch.records)))))
        elif kind == 4 and len(batch.records) > 1 and life.arena.free_pages > 4:
            life.split(batch, flags)
        else:
            self.settle(batch)

    def settle(self, batch: ModelBatch) -> None:
        """Done or failed."""
        if not batch.line.stamped or self.chosen.random() < 0.2:
            self.life.fail(batch)
        else:
            self.life.done(batch, viewed=self.chosen.random() < 0.3)

    def tables(self) -> None:
        """What is not about a batch."""
        life, chosen = self.life, self.chosen
        kind = chosen.randrange(6)
        last, rejections, _ = life.sessions[life.session]
        if kind == 0:
            life.topic_update(chosen.randrange(2), chosen.randbytes(16), chosen.randrange(1, 100))
        elif kind == 1:
            life.set_cluster_id("c" * chosen.randrange(1, 120))
        elif kind == 2:
            life.possible_duplicates(chosen.randrange(1, 9))
        elif kind == 5:
            life.kernel_dropped(chosen.randrange(1, 9))
        elif kind == 3 and rejections:
            life.session_confirm(chosen.choice(rejections)[0])
        elif kind == 4 and not life.all_batches():
            life.session_close()
            life.row = -1
        else:
            life.session_disconnected(chosen.choice([0, last + 1]))


def by_chance(life: Life, seed: int, steps: int) -> None:
    """A random life of that many draws."""
    chance = Chance(life, seed)
    for _ in range(steps):
        chance.step()
