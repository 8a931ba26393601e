"""Figures kept as they are made: a table that takes hours goes on where it was interrupted, and all of it is of one overlay.

    DIR/about.json           what they are of: sources, matrix, settings, scale
    DIR/half-kill/7.json     an experiment's figures under one seed

Rows are no part of it: what is printed of figures may change without making them again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opus_controller.bench import kept
from opus_controller.bench.overlay.experiments import Figures, Scale
from opus_controller.bench.overlay.settings import Settings
from opus_controller.model.sources import digest_of, files_of

MAKERS = ("opus_node", "opus_controller.model", "opus_controller.runtimes.sim", "opus_controller.bench.overlay")
READERS = ("rows.py", "statistics.py", "table.py", "kept.py")
"""Of the last of those: what figures become afterwards."""


@dataclass(frozen=True)
class Kept:
    directory: Path

    @staticmethod
    def into(directory: Path, matrix: Path, settings: Settings, scale: Scale) -> Kept:
        """A new directory, or one of the same sources, matrix, settings and scale; anything else is a ScenarioError."""
        kept.claim(directory, _about(matrix, settings, scale), "an earlier table like this one")
        return Kept(directory)

    def figures(self, experiment: str, seed: int) -> Figures | None:
        """As they were put there; None if they were not."""
        return kept.read(self._file(experiment, seed))

    def keep(self, experiment: str, seed: int, figures: Figures) -> None:
        kept.write(self._file(experiment, seed), figures)

    def _file(self, experiment: str, seed: int) -> Path:
        return self.directory / experiment.replace(", ", "-").replace(" ", "-") / f"{seed}.json"


def _about(matrix: Path, settings: Settings, scale: Scale) -> dict[str, Any]:
    makers = [source for source in files_of(MAKERS) if not source[1].endswith(tuple(f"overlay/{name}" for name in READERS))]
    return {
        "sources": digest_of(makers),
        "matrix": hashlib.sha256(matrix.read_bytes()).hexdigest(),
        "settings": settings.told(),
        "scale": vars(scale),
    }
