"""What comes after a run, or again at any later time: result.json and report.html of a run's directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from opus_controller.model.errors import ScenarioError
from opus_controller.report.build import build
from opus_controller.report.html import render
from opus_controller.report.result import Result
from opus_controller.report.run import read

RESULT = "result.json"
HTML = "report.html"


def conclude(directory: Path, *, html: Path | None = None) -> Result:
    """Judge the run in `directory`, write its result.json and report.html (or `html` elsewhere), and return the result.

    Raises ScenarioError if `directory` is no run's directory.
    """
    run = read(directory)
    result = build(run)
    (directory / RESULT).write_text(to_json(result), encoding="utf-8")
    (html or directory / HTML).write_text(render(run, result), encoding="utf-8")
    return result


def judge(directory: Path) -> Result:
    """The same without the page, which takes longer than all else: for one run of many."""
    result = build(read(directory))
    (directory / RESULT).write_text(to_json(result), encoding="utf-8")
    return result


def load(directory: Path) -> Result:
    """The result of a run that has been judged. ScenarioError if there is none, or one of another version."""
    file = directory / RESULT
    try:
        return Result.model_validate_json(file.read_bytes())
    except (OSError, ValueError):
        raise ScenarioError(
            f"{file}: missing, or not of this version of Opus; make it anew with: opus report {directory}"
        ) from None


def to_json(result: Result) -> str:
    """`result.json`: indented, keys in the order of DESIGN section 8 and then our own, newline at the end."""
    return result.model_dump_json(indent=2) + "\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema of result.json, as published in docs/result.schema.json."""
    schema: dict[str, Any] = Result.model_json_schema(mode="serialization")
    return schema


def json_schema_text() -> str:
    return json.dumps(json_schema(), indent=2) + "\n"
