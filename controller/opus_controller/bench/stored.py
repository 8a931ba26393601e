"""What `opus bench` has measured on this machine, kept for `opus doctor` and `opus run` to reckon with.

One file, $XDG_CACHE_HOME/opus/bench.json (~/.cache without it): {"<host name>": {"hop": {"at": day, "rows": {what: value}}}}.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from opus_controller.bench.table import Row

KEPT = ("hop", "hosts", "links")


@dataclass(frozen=True)
class Bench:
    """One bench's rows, as they were printed last."""

    at: str
    """The day."""
    rows: Mapping[str, float]

    def value(self, part: str) -> float | None:
        """Of the last row whose name has `part` in it and whose figure is above 0."""
        found = [value for what, value in self.rows.items() if part in what and value > 0]
        return found[-1] if found else None


def file() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "opus" / "bench.json"


def save(bench: str, rows: Iterable[Row]) -> None:
    """In place of what this machine had for `bench`. A cache that cannot be written is done without."""
    path = file()
    everything = _read(path)
    kept = {row.what.strip(): row.value for row in rows}
    everything.setdefault(platform.node(), {})[bench] = {"at": datetime.now().strftime("%Y-%m-%d"), "rows": kept}
    draft = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(everything, indent=1))
        draft.replace(path)
    except OSError:
        return


def load() -> dict[str, Bench]:
    """This machine's, by bench; empty if there is none."""
    found = _read(file()).get(platform.node(), {})
    return {name: Bench(of["at"], of["rows"]) for name, of in found.items() if name in KEPT}


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
