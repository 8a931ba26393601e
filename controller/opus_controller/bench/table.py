"""One row of every bench: what was measured, what it is held against, and whether it holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    what: str
    measured: str
    value: float
    """The figure itself, for programs."""
    bound: float | None = None
    """What the project promises; None: printed only."""
    least: bool = False
    """Whether the bound is the least allowed (a speed) and not the most (a time)."""
    unit: str = ""

    @property
    def ok(self) -> bool | None:
        if self.bound is None:
            return None
        return self.value >= self.bound if self.least else self.value <= self.bound

    @property
    def promised(self) -> str:
        return "" if self.bound is None else f"{'at least' if self.least else 'at most'} {self.bound:g} {self.unit}".rstrip()


def row(what: str, value: float, unit: str, bound: float | None = None, *, least: bool = False, digits: int = 1) -> Row:
    return Row(what, f"{value:,.{digits}f} {unit}".rstrip(), value, bound, least, unit)
