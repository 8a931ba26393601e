"""The cells that one node holds, and in which order it came by them: who has been told of some asks only for what came since."""

from __future__ import annotations

from opus_node.core.data.cells import EMPTY, Cell, Cells, Key

PAGE = 256 << 10
"""Bytes of cells in one message, roughly, and one cell at least."""
CELL = 64
"""What a cell takes beside its key and its value."""


class Store:
    __slots__ = ("cells", "count", "size", "stamps")

    def __init__(self) -> None:
        self.cells: dict[Key, Cell] = {}
        self.count = 0
        """Values stored in this life."""
        self.size = 0
        """Bytes held, roughly."""
        self.stamps: dict[Key, int] = {}
        """The count when a key's was."""

    def get(self, key: Key) -> Cell:
        return self.cells.get(key, EMPTY)

    def take(self, key: Key, cell: Cell) -> bool:
        """Whether it is later than what was held, and is held now."""
        if cell.tag <= self.get(key).tag:
            return False
        self.size += _size(key, cell) - (_size(key, self.cells[key]) if key in self.cells else 0)
        self.cells[key] = cell
        self.count += 1
        self.stamps.pop(key, None)
        self.stamps[key] = self.count  # the latest is the last
        return True

    def page(self, count: int) -> tuple[Cells, int]:
        """(some of what came after so many, up to how many it goes): `self.count`, if that is all."""
        found: dict[Key, Cell] = {}
        left = PAGE
        for key, stamp in self.stamps.items():
            if stamp <= count:
                continue
            if found and left <= 0:
                return found, count
            cell = self.cells[key]
            found[key], count = cell, stamp
            left -= _size(key, cell)
        return found, self.count

    def clear(self) -> None:
        """The count goes on: whoever asks for what came since is told nothing."""
        self.cells, self.stamps, self.size = {}, {}, 0


def _size(key: Key, cell: Cell) -> int:
    return CELL + len(key) + len(cell.value or b"")
