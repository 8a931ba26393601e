"""`opus run FILE` of a packed run: the same plan again, wherever this is; in `sim` it must be the same run, step for step."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from opus_controller.cli._choose import LinksName, RuntimeName, choose_runtime
from opus_controller.cli._observe import Address
from opus_controller.cli._playing import facts_of, need_observable, versions
from opus_controller.cli._single import Shown, run_once
from opus_controller.model.errors import ScenarioError

if TYPE_CHECKING:
    from opus_controller.report.pack import Pack
    from opus_controller.report.result import Result

NOT_THE_SAME = 1
_Name = TypeVar("_Name", RuntimeName, LinksName)


def rerun(file: Path, runtime: RuntimeName, links: LinksName, at: Address | None, shown: Shown) -> int:
    """The run's exit code; 1 if a run in `sim` is not the packed one again.

    Unless others are asked for, runtime and links are the pack's. Nothing of a pack but its plan is made use of, and, with real
    hosts, the programs of its services.
    """
    from opus_controller.report.build import hop_cost_given
    from opus_controller.report.pack import read

    pack = read(file)
    runtime = _as_packed(RuntimeName, runtime, pack.manifest.runtime)
    links = _as_packed(LinksName, links, pack.manifest.links)
    hop_cost = hop_cost_given(pack.result.facts) if runtime is RuntimeName.sim else None
    chosen = choose_runtime(runtime, links, scenario=str(file), hop_cost=hop_cost)
    need_observable(at, chosen)
    for line in _differences(pack):
        print(f"packed with another {line}", file=sys.stderr)
    facts = {**facts_of(file.resolve(), chosen), "pack": pack.manifest.model_dump(mode="json", exclude={"files"})}
    code, result = run_once(pack.plan, chosen, facts, pack.put, at, shown)
    same, told = _reproduced(pack, result)
    print(told, file=sys.stderr)
    return code or (0 if same else NOT_THE_SAME)


def _as_packed(names: type[_Name], asked: _Name, packed: str) -> _Name:
    return names(packed) if asked.value == "auto" and packed in [name.value for name in names] else asked


def _differences(pack: Pack) -> list[str]:
    """ "source: 1a2b → 3c4d"."""
    from opus_controller.report.several.differences import of_facts

    return of_facts(pack.manifest.versions, versions())


def _reproduced(pack: Pack, result: Result) -> tuple[bool, str]:
    """Whether it is the same run again, as far as that can be asked; and a line about it."""
    if result.plan_digest != pack.manifest.plan_digest:
        return False, f"NOT the packed plan: {result.plan_digest}, packed {pack.manifest.plan_digest}"
    before, after = pack.manifest.trace_digest, result.facts.get("trace_digest")
    if before is None or after is None:
        return True, f"the packed plan again; real time is never the same twice: opus compare {pack.path} the new run"
    if before == after:
        return True, f"the packed run again, step for step: trace {after}"
    return False, f"NOT the packed run: trace {after}, packed {before}; Opus is another (see above), or this is a bug to report"


def refuse_options(given: Mapping[str, object]) -> None:
    """A packed run is one run with its plan: options that would make another plan mean nothing."""
    if named := [option for option, value in given.items() if value not in (None, [])]:
        raise ScenarioError(f"{named[0]}: a packed run has its plan; leave it out, or run the scenario in the pack's inputs/")
