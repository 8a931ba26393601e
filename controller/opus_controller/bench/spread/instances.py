"""Instances: which hosts of the PlanetLab matrix are the members. By chance, or where the core's k-median puts 50 for half of the
hosts. Rows of the matrix, by seed and name, in a file beside this one.

    python -m opus_controller.bench.spread.instances [DIR]            writes it anew from the seeds; DIR: where the matrix is
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random

from opus_node.core.kmedian import placed
from opus_node.core.types import MILLISECOND

from opus_controller.bench.overlay.data import find
from opus_controller.model.matrix import rtts_from_csv

FILE = Path(__file__).parent / "instances.json"
SEEDS = range(1, 11)
RANDOM = (20, 50, 100)
PLACED = 50
LEAST = 0.05
"""ms; the matrix has zeros between hosts of a site."""

Rtts = list[list[int]]
"""Round trips in ns, symmetric."""


def matrix(place: Path | None) -> Rtts:
    rows = rtts_from_csv(find(place))[1]
    n = len(rows)
    return [[0 if i == j else round(max(LEAST, (rows[i][j] + rows[j][i]) / 2) * MILLISECOND) for j in range(n)] for i in range(n)]


def members(seed: int, rtts: Rtts) -> dict[str, list[int]]:
    """From the file; of a seed that it has not, by the same rule."""
    known: dict[str, dict[str, list[int]]] = json.loads(FILE.read_text())
    return known[str(seed)] if str(seed) in known else made(seed, rtts)


def made(seed: int, rtts: Rtts) -> dict[str, list[int]]:
    hosts = range(len(rtts))
    found = {f"{m} random": sorted(Random(f"{seed}/{m}").sample(hosts, m)) for m in RANDOM}
    served = sorted(Random(f"{seed}/served").sample(hosts, len(rtts) // 2))
    columns = [[float(rtts[candidate][host]) for host in served] for candidate in hosts]
    found[f"{PLACED} placed"] = sorted(placed(columns, PLACED, [0.0] * len(rtts)))
    return found


def text(rtts: Rtts) -> str:
    return json.dumps({seed: made(seed, rtts) for seed in SEEDS}) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(matrix(Path(sys.argv[1]) if len(sys.argv) > 1 else None)))
