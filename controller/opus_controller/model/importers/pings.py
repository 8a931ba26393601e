"""WonderNetwork's pings between some 250 cities: pings.csv, and servers.csv beside it, as published.

    "source","destination","timestamp","min","avg","max","mdev"
    "0","285","2020-07-20 00:00:17.000","307.86","308.256","309.32","0.842"

    "id","name","title","location","state","country","state_abbv","continent","latitude","longitude"
    "0","JoaoPessoa","Joao Pessoa","Patos","Paraiba","Brazil","PB","2","-7.0833","-34.8333"

A pair's round trip is the mean of `avg` over all its lines, each direction by itself. Servers without a line, and lines of
servers that are not listed, are left out. (wonderproxy.com/blog/a-day-in-the-life-of-the-internet, 2020.)
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from opus_controller.model.errors import ScenarioError
from opus_controller.model.graph import Position
from opus_controller.model.importers.network import Matrix, completed
from opus_controller.model.importers.pairs import column, figure, header_of
from opus_controller.model.textfile import csv_rows, read_lines
from opus_controller.model.units import shown

Server = tuple[str, Position]
"""Name and place."""


def read_pings(path: Path, ms: float) -> Matrix:
    """`ms`: milliseconds in a unit of the file's. Raises ScenarioError, naming file and line."""
    servers = _servers(_beside(path))
    rows = csv_rows(path, read_lines(path))
    header = header_of(rows)
    wanted = [column(path, header, (name,)) for name in ("source", "destination", "avg")]
    sums: dict[tuple[str, str], tuple[float, int]] = {}
    for line, row in rows:
        if len(row) <= max(wanted):
            raise ScenarioError(f"{path}:{line}: {len(row)} values; allowed: {','.join(header)}")
        source, target, cell = (row[k] for k in wanted)
        rtt = figure(path, line, cell)
        if rtt > 0 and source in servers and target in servers:
            total, count = sums.get((source, target), (0.0, 0))
            sums[source, target] = total + rtt, count + 1
    pinged = {server for pair in sums for server in pair}
    ids = [server for server in servers if server in pinged]
    if not ids:
        raise ScenarioError(f"{path}: no ping between two of the servers of {_beside(path)}")
    position = {server: i for i, server in enumerate(ids)}
    mean = np.full((len(ids), len(ids)), np.nan)
    for (source, target), (total, count) in sums.items():
        mean[position[source], position[target]] = total / count * ms
    return completed(path, [servers[server][0] for server in ids], mean, [servers[server][1] for server in ids])


def _beside(path: Path) -> Path:
    """The one file named servers*.csv in the directory of the pings."""
    found = [file for file in sorted(path.parent.glob("servers*")) if file.name.endswith((".csv", ".csv.gz"))]
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise ScenarioError(f"{path}: where its servers are is told by a servers*.csv beside it; there: {names}; needed: one")
    return found[0]


def _servers(path: Path) -> dict[str, Server]:
    rows = csv_rows(path, read_lines(path))
    header = header_of(rows)
    wanted = [column(path, header, (name,)) for name in ("id", "name", "latitude", "longitude")]
    servers: dict[str, Server] = {}
    for line, row in rows:
        if len(row) <= max(wanted):
            raise ScenarioError(f"{path}:{line}: {len(row)} values; allowed: {','.join(header)}")
        server, name, *cells = (row[k] for k in wanted)
        lat, lon = (figure(path, line, cell) for cell in cells)
        if not (abs(lat) <= 90 and abs(lon) <= 180) or math.isnan(lat + lon):
            raise ScenarioError(f"{path}:{line}: no place is at {shown(','.join(cells))}; allowed: latitude and longitude")
        if server in servers:
            raise ScenarioError(f"{path}:{line}: the server {shown(server)} is given twice")
        servers[server] = name, (lat, lon)
    return servers
