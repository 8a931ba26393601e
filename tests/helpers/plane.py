"""A matrix of round trips that nobody measured: hosts at random places of a plane, as a CSV file."""

from __future__ import annotations

from math import hypot
from pathlib import Path
from random import Random


def matrix_file(place: Path, hosts: int, *, seed: int = 1, across_ms: float = 200.0) -> Path:
    """Square, symmetric, at least 1 ms between any two."""
    rng = Random(seed)
    at = [(rng.random(), rng.random()) for _ in range(hosts)]
    rows = [[0.0 if a is b else 1.0 + across_ms * hypot(a[0] - b[0], a[1] - b[1]) for b in at] for a in at]
    path = place / "matrix.csv"
    path.write_text("".join(",".join(f"{rtt:.3f}" for rtt in row) + "\n" for row in rows))
    return path
