"""A CSV line for each pair of sites, as of CloudPing: a header that names the columns, then `us-east-1,eu-west-1,69.6`.

Other columns are passed over. The round trip is that of the first of VALUES that the header has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from opus_controller.model.errors import ScenarioError
from opus_controller.model.fields import listed
from opus_controller.model.importers.network import Matrix, completed
from opus_controller.model.importers.numpy_file import MOST_SITES
from opus_controller.model.textfile import csv_rows, read_lines
from opus_controller.model.units import shown

FROM: Final = ("from", "from_region", "source", "src")
TO: Final = ("to", "to_region", "destination", "dst")
VALUES: Final = ("p50", "median", "rtt_ms", "rtt", "avg", "mean", "latency", "latency_ms")


def read_pairs(path: Path, ms: float) -> Matrix:
    """`ms`: milliseconds in a unit of the file's. An empty figure, or one not above 0: not measured."""
    rows = csv_rows(path, read_lines(path))
    header = header_of(rows)
    source, target, value = (column(path, header, names) for names in (FROM, TO, VALUES))
    sites: dict[str, int] = {}
    pairs: dict[tuple[int, int], float] = {}
    for line, row in rows:
        cells = [row[k] if k < len(row) else "" for k in (source, target, value)]
        if not cells[0] or not cells[1]:
            raise ScenarioError(f"{path}:{line}: {shown(','.join(row))} names no pair; allowed: {','.join(header)}")
        pair = tuple(sites.setdefault(name, len(sites)) for name in cells[:2])
        if pair in pairs:
            raise ScenarioError(f"{path}:{line}: {cells[0]} to {cells[1]} is given twice; allowed: each direction once")
        pairs[pair[0], pair[1]] = figure(path, line, cells[2])
    if not 0 < len(sites) <= MOST_SITES:
        raise ScenarioError(f"{path}: {len(sites)} sites; allowed: 2 to {MOST_SITES}")
    rtt = np.full((len(sites), len(sites)), np.nan)
    for (i, j), value_ms in pairs.items():
        rtt[i, j] = value_ms * ms
    return completed(path, list(sites), rtt, [None] * len(sites))


def header_of(rows: Iterator[tuple[int, list[str]]]) -> list[str]:
    """The first row, in lower case; nothing of an empty file."""
    return [cell.lower() for cell in next(rows, (1, []))[1]]


def column(path: Path, header: Sequence[str], names: Sequence[str]) -> int:
    """Where the first of `names` stands in the header."""
    for name in names:
        if name in header:
            return header.index(name)
    raise ScenarioError(f"{path}:1: no column {' or '.join(names)}; the header has {listed(header) or 'nothing'}")


def figure(path: Path, line: int, cell: str) -> float:
    """A number; NaN of an empty cell."""
    try:
        value = float(cell) if cell else math.nan
    except ValueError:
        value = math.inf
    if math.isinf(value):
        raise ScenarioError(f"{path}:{line}: {shown(cell)} is not a round trip; allowed: a number, or nothing")
    return value
