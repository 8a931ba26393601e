"""What several runs leave behind: repeat.json beside one directory a seed, sweep.json beside one such directory a setting."""

from __future__ import annotations

from pathlib import Path

from opus_controller.report.several.repeat import Repeat
from opus_controller.report.several.sweep import Sweep

REPEAT = "repeat.json"
SWEEP = "sweep.json"


def to_json(document: Repeat | Sweep) -> str:
    return document.model_dump_json(indent=2) + "\n"


def write(document: Repeat | Sweep, directory: Path) -> Path:
    """In one step, never half written; the file's path."""
    file = directory / f"{document.kind}.json"
    draft = file.with_name(f"{file.name}.new")
    draft.write_text(to_json(document), encoding="utf-8")
    draft.replace(file)
    return file
