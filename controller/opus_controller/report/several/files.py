"""What several runs leave behind: repeat.json in the directory that holds one directory a seed."""

from __future__ import annotations

from pathlib import Path

from opus_controller.report.several.repeat import Repeat

REPEAT = "repeat.json"


def to_json(document: Repeat) -> str:
    return document.model_dump_json(indent=2) + "\n"


def write(document: Repeat, directory: Path) -> None:
    """In one step: never half written."""
    file = directory / REPEAT
    draft = file.with_name(f"{file.name}.new")
    draft.write_text(to_json(document), encoding="utf-8")
    draft.replace(file)
