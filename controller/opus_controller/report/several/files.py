"""What several runs leave behind, and reading it again.

repeat.json lies beside one directory a seed, sweep.json beside one such directory a setting. For a comparison a repeat.json or
sweep.json alone is enough (a stored baseline); with the directories around it, differences of the plans can be told, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from opus_controller.model.errors import ScenarioError
from opus_controller.report.conclude import RESULT, load
from opus_controller.report.pack import is_pack
from opus_controller.report.pack import read as read_pack
from opus_controller.report.result import Result
from opus_controller.report.several.repeat import REPEAT, OneRun, Repeat, summed_up
from opus_controller.report.several.sweep import SWEEP, Sweep

PLAN = "plan.json"
MOST_BYTES = 256 << 20


@dataclass(frozen=True)
class Group:
    """Runs of one setting."""

    values: dict[str, Any]
    """Of a sweep, by key; empty otherwise."""
    repeat: Repeat
    directory: Path
    """That the runs' directories are relative to."""

    def plan_of(self, run: OneRun) -> Path:
        return self.directory / run.directory / PLAN


@dataclass(frozen=True)
class Side:
    """One side of a comparison."""

    path: Path
    kind: str
    """ "a run", "a repetition" or "a sweep"."""
    groups: tuple[Group, ...]


def to_json(document: Repeat | Sweep) -> str:
    return document.model_dump_json(indent=2) + "\n"


def write(document: Repeat | Sweep, directory: Path) -> Path:
    """In one step, never half written; the file's path."""
    file = directory / f"{document.kind}.json"
    draft = file.with_name(f"{file.name}.new")
    draft.write_text(to_json(document), encoding="utf-8")
    draft.replace(file)
    return file


def read(path: Path) -> Side:
    """A run's directory, result.json or pack, a repetition's or sweep's directory or its file; otherwise ScenarioError."""
    if path.is_dir():
        if (path / SWEEP).is_file():
            return _swept(path, path / SWEEP)
        if (path / REPEAT).is_file():
            return _repeated(path, path / REPEAT)
        if (path / PLAN).is_file() or (path / RESULT).is_file():
            return _single(path, path)
        return _loose(path)
    if not path.is_file():
        raise ScenarioError(f"{path}: there is no such file or directory; allowed: a run, or runs of --repeat or sweep")
    if is_pack(path):
        return _packed(path)
    if path.name == RESULT:
        return _single(path, path.parent)
    text = _text(path)
    return _swept(path, path) if '"kind": "sweep"' in text[:200] else _repeated(path, path)


def document(directory: Path) -> Repeat | Sweep:
    """What a directory of several runs holds."""
    if (directory / SWEEP).is_file():
        swept: Sweep = _parse(directory / SWEEP, Sweep)
        return swept
    repeated: Repeat = _parse(directory / REPEAT, Repeat)
    return repeated


def _packed(path: Path) -> Side:
    return _alone(path, read_pack(path).result, path)


def _single(path: Path, directory: Path) -> Side:
    return _alone(path, load(directory), directory)


def _alone(path: Path, result: Result, directory: Path) -> Side:
    summary = summed_up([(".", result)], asked=1)
    assert summary is not None
    return Side(path, "a run", (Group({}, summary, directory),))


def _repeated(path: Path, file: Path) -> Side:
    return Side(path, "a repetition", (Group({}, _parse(file, Repeat), file.parent),))


def _swept(path: Path, file: Path) -> Side:
    swept = _parse(file, Sweep)
    groups = tuple(Group(one.values, one.repeat, file.parent / one.directory) for one in swept.settings)
    return Side(path, "a sweep", groups)


def _loose(path: Path) -> Side:
    """A directory of runs that were made one by one."""
    found = sorted(child for child in path.iterdir() if not child.is_symlink() and (child / RESULT).is_file())
    results = [(child.name, load(child)) for child in found]
    if not results:
        raise ScenarioError(f"{path}: no run is in it; allowed: a run's directory, or one with runs of --repeat or sweep")
    if len(names := sorted({result.scenario for _, result in results})) > 1:
        raise ScenarioError(f"{path}: runs of several scenarios ({', '.join(names[:4])}); allowed: runs of one")
    _check_seeds(path, [result.seed for _, result in results])
    summary = summed_up(results, asked=len(results))
    assert summary is not None
    return Side(path, "a repetition", (Group({}, summary, path),))


def _check_seeds(path: Path, seeds: Sequence[int]) -> None:
    if twice := [seed for k, seed in enumerate(seeds) if seed in seeds[:k]]:
        raise ScenarioError(
            f"{path}: several runs with seed {twice[0]}; allowed: one a seed, or they would be counted as independent"
        )


def _parse(file: Path, kind: Any) -> Any:
    try:
        document = kind.model_validate_json(_text(file))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        reason = " ".join(f"{where} {first['msg']}".split())[:120]
        raise ScenarioError(f"{file}: not a {kind.__name__.lower()}.json of this version of Opus ({reason})") from None
    for each in [document] if isinstance(document, Repeat) else [setting.repeat for setting in document.settings]:
        _check_seeds(file, [run.seed for run in each.runs])
    return document


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ScenarioError(f"{file}: is larger than {MOST_BYTES >> 20} MiB")
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{file}: not UTF-8 text; allowed: a repeat.json, sweep.json or result.json") from None
