"""Figures of tasks on disk: a report of an hour goes on where it was interrupted, and all of it is of one overlay.

    DIR/about.json        what they are of: sources, networks, scale
    DIR/<task>.json       a task's figures

Rules and words of the claims are no part of it: what is said of figures may change without making them again.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from opus_controller.bench import kept
from opus_controller.claims.claim import Figures
from opus_controller.claims.setting import Setting
from opus_controller.model.sources import digest_of, files_of

MAKERS = (
    *("opus_node", "opus_controller.model", "opus_controller.engine", "opus_controller.runtimes.sim", "opus_controller.planner"),
    *("opus_controller.report", "opus_controller.bench.overlay", "opus_controller.bench.availability"),
    *("opus_controller.bench.spread", "opus_controller.claims.measure"),
)


@dataclass(frozen=True)
class Done:
    figures: Figures
    cpu_s: float
    """Processor time that making them took."""


@dataclass(frozen=True)
class Kept:
    directory: Path

    @staticmethod
    def into(directory: Path, setting: Setting) -> Kept:
        """A new directory, or one of the same sources, networks and scale; anything else is a ScenarioError."""
        kept.claim(directory, _about(setting), "an earlier report like this one")
        return Kept(directory)

    def done(self, task: str) -> Done | None:
        """As it was put there; None if it was not."""
        found = kept.read(self._file(task))
        return None if found is None or found.keys() != {"figures", "cpu_s"} else Done(**found)

    def keep(self, task: str, done: Done) -> None:
        kept.write(self._file(task), asdict(done))

    def _file(self, task: str) -> Path:
        words = re.sub(r"[^A-Za-z0-9.=+]+", "-", task)
        return self.directory / f"{words}-{hashlib.sha256(task.encode()).hexdigest()[:8]}.json"


def _about(setting: Setting) -> dict[str, Any]:
    return {
        "sources": digest_of(files_of(MAKERS)),
        "networks": [network.name for network in setting.networks],
        "scale": asdict(setting.scale),
        "first_seed": setting.first_seed,
    }
