"""What a claim is, and what becomes of it: words, tasks, a rule; then a verdict, tables and plots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from opus_controller.claims.setting import Setting

Figures = dict[str, Any]
"""Of one task: what JSON can hold."""
Found = Mapping[str, Figures]
"""Figures by the name of their task."""

Verdict = Literal["holds", "holds under conditions", "does not hold", "not measured"]
HOLDS: Verdict = "holds"
CONDITIONS: Verdict = "holds under conditions"
FAILS: Verdict = "does not hold"
NOT_MEASURED: Verdict = "not measured"


@dataclass(frozen=True)
class Task:
    """One piece of work."""

    name: str
    """The same name is the same work, for whichever claim: "life planetlab 490 chord 1"."""
    run: Callable[[], Figures]
    """Picklable or not: it runs in a forked process."""
    cost: float = 1.0
    """Processor seconds, about: the longest begin first."""


@dataclass(frozen=True)
class Table:
    title: str
    head: tuple[str, ...]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Line:
    """A curve of a plot, or points without a line between them."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    """Bounds of 95% intervals; empty: none."""
    points: bool = False


@dataclass(frozen=True)
class Plot:
    name: str
    """Of its file, within the claim's."""
    title: str
    x: str
    y: str
    lines: Sequence[Line]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Finding:
    verdict: Verdict
    because: str
    """One or two sentences with the figures that decide; with CONDITIONS also under which it holds."""
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    notes: Sequence[str] = ()
    """What a reader must know to trust, or distrust, the figures."""


@dataclass(frozen=True)
class Claim:
    number: int
    name: str
    """Short, for the command line: "constant-hops"."""
    says: str
    """The paper's claim, in its words as far as possible."""
    measured: str
    """How it is put to the test."""
    rule: str
    """When it holds, when under conditions, when not."""
    tasks: Callable[[Setting], Sequence[Task]]
    judge: Callable[[Found, Setting], Finding]
    """Given the figures of all its tasks."""
    networks: tuple[str, ...] = field(default=())
    """Names of networks without which there is nothing to measure; empty: any will do."""
