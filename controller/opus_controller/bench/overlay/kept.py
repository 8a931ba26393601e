"""Figures kept as they are made: a table that takes hours goes on where it was interrupted, and all of it is of one overlay.

    DIR/about.json           what they are of: sources, matrix, settings, scale
    DIR/half-kill/7.json     an experiment's figures under one seed

Rows are no part of it: what is printed of figures may change without making them again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from opus_controller.bench.overlay.experiments import Figures, Scale
from opus_controller.bench.overlay.settings import Settings
from opus_controller.model.errors import ScenarioError
from opus_controller.model.sources import digest_of, files_of

ABOUT = "about.json"
MAKERS = ("opus_node", "opus_controller.model", "opus_controller.runtimes.sim", "opus_controller.bench.overlay")
READERS = ("rows.py", "statistics.py", "table.py", "kept.py")
"""Of the last of those: what figures become afterwards."""


@dataclass(frozen=True)
class Kept:
    directory: Path

    @staticmethod
    def into(directory: Path, matrix: Path, settings: Settings, scale: Scale) -> Kept:
        """A new directory, or one of the same sources, matrix, settings and scale; anything else is a ScenarioError."""
        about = _about(matrix, settings, scale)
        file = directory / ABOUT
        try:
            if file.is_file():
                before = json.loads(file.read_text())
            elif directory.is_dir() and any(directory.iterdir()):
                raise _refused(directory, f"has files, but no {ABOUT}")
            else:
                directory.mkdir(parents=True, exist_ok=True)
                _write(file, about)
                before = about
        except (OSError, ValueError) as error:
            raise _refused(directory, str(error)) from None
        if other := [name for name in about if not isinstance(before, dict) or before.get(name) != about[name]]:
            raise _refused(directory, f"is of other {' and '.join(other)}")
        return Kept(directory)

    def figures(self, experiment: str, seed: int) -> Figures | None:
        """As they were put there; None if they were not."""
        try:
            found = json.loads(self._file(experiment, seed).read_text())
        except FileNotFoundError:
            return None
        return found if isinstance(found, dict) else None

    def keep(self, experiment: str, seed: int, figures: Figures) -> None:
        _write(self._file(experiment, seed), figures)

    def _file(self, experiment: str, seed: int) -> Path:
        return self.directory / experiment.replace(", ", "-").replace(" ", "-") / f"{seed}.json"


def _about(matrix: Path, settings: Settings, scale: Scale) -> dict[str, Any]:
    makers = [source for source in files_of(MAKERS) if not source[1].endswith(tuple(f"overlay/{name}" for name in READERS))]
    about = {
        "sources": digest_of(makers),
        "matrix": hashlib.sha256(matrix.read_bytes()).hexdigest(),
        "settings": settings.told(),
        "scale": vars(scale),
    }
    return dict(json.loads(_text(about)))  # as it will be read


def _refused(directory: Path, why: str) -> ScenarioError:
    return ScenarioError(f"--into {directory}: {why}; allowed: a new directory, or that of an earlier table like this one")


def _write(file: Path, content: Mapping[str, Any]) -> None:
    """Whole or not at all: whoever is interrupted leaves no half of it."""
    file.parent.mkdir(exist_ok=True)
    draft = file.with_suffix(".new")
    draft.write_text(_text(content))
    draft.replace(file)


def _text(content: Any) -> str:
    return json.dumps(content, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be kept")
