"""Round trips between sites, as a matrix in the topology or in a CSV file, to one-way delays.

A round trip is a property of a pair: where a matrix gives both a[i][j] and a[j][i] and they differ (row = from; two
measurements of one thing), the round trip is their mean and each direction takes half of that. Asymmetric paths are
written with one-way delays under `paths`. A zero on the diagonal means "not measured".
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

from opus_controller.model.document import KeyPath, Problems
from opus_controller.model.errors import ScenarioError
from opus_controller.model.fields import listed, suggestion
from opus_controller.model.textfile import csv_rows, read_text
from opus_controller.model.units import shown

Pair = tuple[int, int]
"""Positions of two sites."""

MAX_RTT_MS = 60_000


def one_way_delays(rtt_ms: dict[Pair, float]) -> dict[Pair, int]:
    """Nanoseconds one way for each pair and its reverse, from round trips of either or both."""
    delays = {}
    for (i, j), rtt in rtt_ms.items():
        mean = (rtt + rtt_ms.get((j, i), rtt)) / 2
        delays[i, j] = delays[j, i] = round(mean * 500_000)
    return delays


def rtts_from_value(problems: Problems, keys: KeyPath, value: object, sites: Sequence[str]) -> dict[Pair, float]:
    """Round trips in ms from what stands under `rtt_ms`; whatever is wrong is added to `problems`."""
    if isinstance(value, dict):
        return _from_mapping(problems, keys, value, sites)
    assert isinstance(value, list)
    return _from_rows(problems, keys, value, sites)


def _from_mapping(problems: Problems, keys: KeyPath, value: dict[str, object], sites: Sequence[str]) -> dict[Pair, float]:
    position = {name: i for i, name in enumerate(sites)}
    found: dict[Pair, float] = {}

    def known(name: str, where: KeyPath) -> bool:
        if name not in position:
            problems.add(where, f"there is no site {shown(name)}; {suggestion(name, sites)}allowed: {listed(sites)}", of_key=True)
        return name in position

    for name, row in value.items():
        if not known(name, (*keys, name)):
            continue
        if not isinstance(row, dict):
            problems.add((*keys, name), f"{shown(row)} where a mapping belongs; allowed: {{site: ms}}")
            continue
        for other, rtt in row.items():
            where = (*keys, name, other)
            if known(other, where) and _is_rtt(problems, where, rtt, diagonal=name == other) and rtt:
                found[position[name], position[other]] = float(rtt)
    return found


def _from_rows(problems: Problems, keys: KeyPath, rows: list[object], sites: Sequence[str]) -> dict[Pair, float]:
    n = len(sites)
    if len(rows) != n:
        problems.add(keys, f"{len(rows)} rows for {n} sites; allowed: one row for each site, in their order")
        return {}
    lengths = [len(row) if isinstance(row, list) else -1 for row in rows]
    if lengths[0] == n:
        wanted, form = [n] * n, f"{n}, a full matrix"
    elif lengths[0] == 1:
        wanted, form = [i + 1 for i in range(n)], "one more in each row, a lower triangle with its diagonal"
    else:
        wanted, form = list(range(n)), "one more in each row from none on, a lower triangle"
    found: dict[Pair, float] = {}
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != wanted[i]:
            has = f"{lengths[i]} numbers" if isinstance(row, list) else shown(row)
            problems.add((*keys, i), f"{has} in the row of {sites[i]} where {wanted[i]} belong; allowed: {form}")
            continue
        for j, rtt in enumerate(row):
            if _is_rtt(problems, (*keys, i, j), rtt, diagonal=i == j) and rtt:
                found[i, j] = float(rtt)
    return found


def _is_rtt(problems: Problems, keys: KeyPath, rtt: object, *, diagonal: bool) -> bool:
    """Whether it is a round trip in ms; 0 is allowed on the diagonal, meaning not given."""
    if isinstance(rtt, int | float) and not isinstance(rtt, bool) and (0 < rtt <= MAX_RTT_MS or (rtt == 0 and diagonal)):
        return True
    problems.add(keys, f"{shown(rtt)} is not a round trip; allowed: milliseconds above 0, at most {MAX_RTT_MS}, without a unit")
    return False


def rtts_from_csv(path: Path, ms: float = 1.0) -> tuple[list[str] | None, list[list[float]]]:
    """Names (if the first row and column hold names) and rows of round trips in ms of a square CSV file, plain or gzip.

    `ms`: milliseconds in a unit of the file's. Raises ScenarioError, naming the file's row and column.
    """
    rows = [row for _, row in csv_rows(path, io.StringIO(read_text(path)))]
    if not rows:
        raise ScenarioError(f"{path}:1: the file is empty; allowed: a square matrix of round trips in ms")
    named = any(cell and not _is_number(cell) for cell in rows[0])
    names = rows[0][1:] if named else None
    first_line = 2 if named else 1
    numbers: list[list[float]] = []
    for i, row in enumerate(rows[1:] if named else rows):
        if names is not None and (i >= len(names) or row[0] != names[i]):
            expected = names[i] if i < len(names) else "no more rows"
            raise ScenarioError(
                f"{path}:{first_line + i}: the row of {shown(row[0])} where {expected} belongs; rows and columns must agree"
            )
        numbers.append(_row_of(path, first_line + i, row[1:] if named else row, i, ms))
    width = len(names) if names is not None else len(numbers)
    for i, values in enumerate(numbers):
        if len(values) != width or len(numbers) != width:
            raise ScenarioError(
                f"{path}:{first_line + i}: {len(values)} numbers in a matrix of {len(numbers)} rows; allowed: a square one"
            )
    return names, numbers


def _row_of(path: Path, line: int, cells: list[str], i: int, ms: float) -> list[float]:
    values = []
    for j, cell in enumerate(cells):
        value = float(cell) * ms if _is_number(cell) else math.nan
        on_diagonal = i == j and (cell == "" or value == 0)
        if on_diagonal:
            value = 0.0
        elif not 0 < value <= MAX_RTT_MS:
            unit = "milliseconds" if ms == 1 else "round trips"
            raise ScenarioError(
                f"{path}:{line}: number {j + 1} is {shown(cell)}; allowed: {unit} above 0, at most {MAX_RTT_MS / ms:g}"
            )
        values.append(value)
    return values


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False
