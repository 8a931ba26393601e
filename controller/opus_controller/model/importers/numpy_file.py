"""A matrix of round trips as a NumPy array: .npy, or .npz with one array in it. Nothing in it is ever unpickled."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from opus_controller.model.errors import ScenarioError
from opus_controller.model.importers.csv_matrix import numbered
from opus_controller.model.importers.network import Matrix, completed

MOST_SITES = 20_000
"""Before any are left out; 3 GB of figures."""


def read_numpy(path: Path, ms: float) -> Matrix:
    """`ms`: milliseconds in a unit of the file's. Figures that are not above 0, NaN too: not measured."""
    array = _array(path)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not 0 < array.shape[0] <= MOST_SITES:
        shape = " x ".join(map(str, array.shape)) or "a single figure"
        raise ScenarioError(f"{path}: the array is {shape}; allowed: a square matrix of at most {MOST_SITES} rows")
    if array.dtype.kind not in "iuf":
        raise ScenarioError(f"{path}: the array holds {array.dtype}; allowed: whole or real numbers")
    return completed(path, numbered(len(array)), array.astype(np.float64) * ms, [None] * len(array))


def _array(path: Path) -> np.ndarray[Any, np.dtype[Any]]:
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            if len(loaded.files) != 1:
                found = ", ".join(loaded.files) or "none"
                raise ScenarioError(f"{path}: {len(loaded.files)} arrays ({found}); allowed: an .npz with one")
            array = loaded[loaded.files[0]]
    except (ValueError, OSError, EOFError, KeyError, MemoryError, zipfile.BadZipFile) as error:
        raise ScenarioError(f"{path}: not a NumPy array of numbers: {' '.join(str(error).split())}") from None
    if not isinstance(array, np.ndarray):
        raise ScenarioError(f"{path}: the one file in it is not a NumPy array")
    return array
