"""Availability traces: when measured hosts were there. A CSV file of our own, and the Failure Trace Archive's tables.

Ours has one line for each session, in any order, plain or compressed (.csv.gz):

    node,start,end
    a,0,3600
    a,7300.5,9000
    b,120,

`node` names a measured host, `start` and `end` are seconds since the trace began; without an `end` the session lasted longer
than the trace. Sessions of one node do not overlap; between them it was away. The trace ends with the latest time in it.

The archive's `event_trace.tab` (Kondo, Javadi, Iosup, Epema, *The Failure Trace Archive*, CCGrid 2010) has a line for each event,
its columns parted by white space; the header may begin with "#" or be missing. Used are node_id, event_type (1: available, 0:
not), event_start_time and event_stop_time (seconds since 1970). A node may have several components (its CPU, its disk): their
events are of different things, so one component must be chosen.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from opus_controller.model.errors import ScenarioError
from opus_controller.model.fields import listed
from opus_controller.model.textfile import read_text
from opus_controller.model.units import shown

COLUMNS: Final = ("node", "start", "end")
MOST_SESSIONS: Final = 5_000_000

_FTA_COLUMNS: Final = {"component_id": 1, "node_id": 2, "event_type": 5, "event_start_time": 6, "event_stop_time": 7}
"""Where they are when no header says so."""
_FTA_ALIASES: Final = {"event_end_time": "event_stop_time"}
_FTA_UP, _FTA_DOWN = "1", "0"

Session = tuple[float, float]
"""(start, end) in seconds since the trace began; infinite if it outlasted the trace."""


@dataclass(frozen=True)
class Trace:
    sessions: dict[str, tuple[Session, ...]]
    """Of each node, in order of time, apart; nodes in order of their names."""
    end: float


def load_trace(path: Path) -> Trace:
    """Read our own CSV. Raises ScenarioError: one line with file and line."""
    if not path.is_file():
        raise ScenarioError(f"{path}: there is no such file; allowed: a CSV file of sessions ({','.join(COLUMNS)})")
    rows = csv.reader(io.StringIO(read_text(path)))
    header = [cell.strip() for cell in next(rows, [])]
    if tuple(header) != COLUMNS:
        found = f"the first line is {shown(','.join(header))}" if header else "the file is empty"
        raise ScenarioError(f"{path}:1: {found}; allowed: the header {','.join(COLUMNS)}, then a line for each session")
    sessions: dict[str, list[tuple[float, float, int]]] = {}
    for line, row in enumerate(rows, start=2):
        if row:
            node, start, end = _session(path, line, row)
            sessions.setdefault(node, []).append((start, end, line))
        if line > MOST_SESSIONS:
            raise ScenarioError(f"{path}:{line}: too long; allowed: at most {MOST_SESSIONS} sessions")
    if not sessions:
        raise ScenarioError(f"{path}:1: no session; allowed: at least one line such as a,0,3600")
    for of_node in sessions.values():
        of_node.sort()
        for (_, end, _), (start, _, line) in pairwise(of_node):
            if start < end:
                raise ScenarioError(f"{path}:{line}: overlaps another session of the node; allowed: sessions one after another")
    end = max(time for of_node in sessions.values() for session in of_node for time in session[:2] if math.isfinite(time))
    return Trace({node: tuple(_joined((s[0], s[1]) for s in sessions[node])) for node in sorted(sessions)}, end)


def _session(path: Path, line: int, row: list[str]) -> tuple[str, float, float]:
    if len(row) != len(COLUMNS):
        raise ScenarioError(f"{path}:{line}: {len(row)} values; allowed: three, {','.join(COLUMNS)} (end may be empty)")
    node, start, end = (cell.strip() for cell in row)
    if not node:
        raise ScenarioError(f"{path}:{line}: no node is named; allowed: {','.join(COLUMNS)}")
    begun = _seconds(start)
    if begun is None:
        raise ScenarioError(f"{path}:{line}: the start is {shown(start)}; allowed: seconds since the trace began, 0 or more")
    ended = math.inf if end == "" else _seconds(end)
    if ended is None or ended <= begun:
        raise ScenarioError(f"{path}:{line}: the end is {shown(end)}; allowed: seconds, more than the start, or nothing")
    return node, begun, ended


def _seconds(cell: str) -> float | None:
    try:
        seconds = float(cell)
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e11 else None


# The Failure Trace Archive


def import_fta(path: Path, *, component: str = "") -> str:
    """The text of our CSV made of an event_trace.tab. Raises ScenarioError: one line with file and line."""
    if not path.is_file():
        raise ScenarioError(f"{path}: there is no such file; allowed: an event_trace.tab of the Failure Trace Archive")
    columns = dict(_FTA_COLUMNS)
    up: dict[str, list[Session]] = {}
    components: dict[str, list[str]] = {}
    first = math.inf
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.lstrip("#").split()
        if "node_id" in words and "event_type" in words:
            columns = _columns(path, number, words)
        elif words and not line.startswith("#"):
            of, node, kind, start, end = _event(path, number, words, columns)
            of_that_node = components.setdefault(node, [])
            if of not in of_that_node:
                of_that_node.append(of)
            if component in ("", of):
                first = min(first, start)
                of_node = up.setdefault(node, [])
                if kind == _FTA_UP:
                    of_node.append((start, end))
    several = next((node for node, known in components.items() if len(known) > 1), "")
    if component == "" and several:
        raise ScenarioError(
            f"{path}: node {several} has several components; choose one with --component: {listed(components[several])}"
        )
    if not any(up.values()):
        known = f"; there is {listed(sorted({c for each in components.values() for c in each}))}" if component else ""
        raise ScenarioError(f"{path}: no time at which a node was available (event_type {_FTA_UP}){known}")
    return _as_csv({node: _joined(sessions) for node, sessions in up.items()}, first)


def _columns(path: Path, line: int, words: list[str]) -> dict[str, int]:
    names = [_FTA_ALIASES.get(word, word) for word in words]
    missing = [name for name in _FTA_COLUMNS if name not in names]
    if missing:
        raise ScenarioError(f"{path}:{line}: the header lacks {', '.join(missing)}; allowed: the archive's event_trace table")
    return {name: names.index(name) for name in _FTA_COLUMNS}


def _event(path: Path, line: int, words: list[str], columns: dict[str, int]) -> tuple[str, str, str, float, float]:
    if len(words) <= max(columns.values()):
        raise ScenarioError(f"{path}:{line}: {len(words)} columns; allowed: at least {max(columns.values()) + 1}")
    component, node, kind = (words[columns[name]] for name in ("component_id", "node_id", "event_type"))
    start, end = (_seconds(words[columns[name]]) for name in ("event_start_time", "event_stop_time"))
    if kind not in (_FTA_UP, _FTA_DOWN):
        raise ScenarioError(f"{path}:{line}: event_type is {shown(kind)}; allowed: {_FTA_UP} (available), {_FTA_DOWN} (not)")
    if start is None or end is None or end < start:
        raise ScenarioError(f"{path}:{line}: from {words[columns['event_start_time']]} to {words[columns['event_stop_time']]}; "
                            "allowed: seconds, the stop not before the start")  # fmt: skip
    return component, node, kind, start, end


def _joined(sessions: Iterable[Session]) -> list[Session]:
    """In order of time; those that touch or overlap are one (traces part availability by what else happened)."""
    joined: list[Session] = []
    for start, end in sorted(sessions):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif end > start:
            joined.append((start, end))
    return joined


def _as_csv(sessions: dict[str, list[Session]], first: float) -> str:
    lines = [",".join(COLUMNS)]
    for node, of_node in sessions.items():
        lines += [f"{node},{start - first:.15g},{end - first:.15g}" for start, end in of_node]
    return "\n".join(lines) + "\n"
