"""A square CSV table of round trips: numbers alone, or names in the first row and column (tables between cloud regions)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from opus_controller.model.importers.network import Matrix
from opus_controller.model.matrix import rtts_from_csv


def read_csv(path: Path, ms: float) -> Matrix:
    """`ms`: milliseconds in a unit of the file's. It must be complete, as where a topology names such a file itself."""
    names, rows = rtts_from_csv(path, ms)
    labels = names or numbered(len(rows))
    return Matrix(labels, np.array(rows), [None] * len(rows))


def numbered(sites: int) -> list[str]:
    """Names for the sites of a matrix that has none, as a topology with `rtt_matrix` gives them."""
    return [f"h{i + 1:03d}" for i in range(sites)]
