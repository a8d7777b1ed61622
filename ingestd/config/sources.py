"""Where each value of a configuration comes from."""

from typing import Final, NamedTuple


class Source(NamedTuple):
    """``place``: a file, with the line where it is known; empty: a default. ``concealed``: out of a ``${file:}``.
    ``replaced``: variables stood there, so that ``place`` itself holds their names only."""

    place: str = ""
    concealed: bool = False
    replaced: bool = False


DEFAULT: Final = Source()


class Sources:
    """By key as faults show it: ``producer.linger.ms``, ``topics."logs.app".linger.ms``, ``listeners.app.listen``."""

    def __init__(self) -> None:
        self._by_key: dict[str, Source] = {}

    def note(self, key: str, place: str) -> None:
        """The value of ``key`` (or all of a section, whose keys begin with it) comes from ``place``."""
        self._by_key[key] = Source(place)

    def conceal(self, key: str) -> None:
        """The value of ``key`` must not be shown."""
        self._by_key[key] = self.of(key)._replace(concealed=True)

    def replace(self, key: str) -> None:
        """The value of ``key`` stands somewhere else than its name."""
        self._by_key[key] = self.of(key)._replace(replaced=True)

    def hides(self, key: str) -> bool:
        """Whether the value of ``key``, or a part of it where it is a table, must not be shown."""
        parts = (source.concealed for name, source in self._by_key.items() if name.startswith(f"{key}."))
        return self.of(key).concealed or any(parts)

    def rename(self, before: str, after: str) -> None:
        """The section ``before`` is called ``after`` from here on."""
        for key in list(self._by_key) if before != after else ():
            if key == before or key.startswith(f"{before}."):
                self._by_key[after + key.removeprefix(before)] = self._by_key.pop(key)

    def of(self, key: str) -> Source:
        """The source of ``key``, else that of the section around it; DEFAULT where no file has either."""
        while key:
            if key in self._by_key:
                return self._by_key[key]
            key = key.rpartition(".")[0]
        return DEFAULT

    def exactly(self, key: str) -> Source:
        """The source of ``key`` itself; DEFAULT where no file sets it."""
        return self._by_key.get(key, DEFAULT)
