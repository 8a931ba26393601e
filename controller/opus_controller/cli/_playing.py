"""One plan on one runtime, watched: what `opus run` does once and its repetitions do often."""

from __future__ import annotations

import asyncio
import hashlib
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opus_controller.cli._choose import Chosen
from opus_controller.cli._observe import Address, observing
from opus_controller.model.errors import PlatformError

if TYPE_CHECKING:
    from opus_controller.engine.play import Outcome
    from opus_controller.engine.record import RunRecord
    from opus_controller.model.plan import Plan
    from opus_controller.model.settings import Setting

RUNS = Path("runs")
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE in place of the scenario's, as in overlay.wave=8 or applications.web.replicas=5."),
]


def announce(plan: Plan, chosen: Chosen, seeds: str = "") -> None:
    """On standard error: standard output is for the result. ScenarioError, with nothing said, if the runtime cannot do it."""
    from opus_controller.engine import needs

    needs.check(plan.timeline, chosen.make(None, "run").info, plan.apps)
    hosts = f"{len(plan.hosts)} hosts in {len(plan.sites)} sites of {plan.topology}"
    print(f"{plan.name}: {hosts}, {seeds or f'seed {plan.seed}'}", file=sys.stderr)
    for line in chosen.announcement:
        print(line, file=sys.stderr)
    if chosen.observable and (line := _too_much(plan, chosen)):
        print(line, file=sys.stderr)


def _too_much(plan: Plan, chosen: Chosen) -> str:
    """Of real hosts: a warning, if this machine cannot carry them."""
    from opus_controller.bench.capacity import capacity, warning

    return warning(plan, capacity(docker=any("docker" in line.partition(",")[0] for line in chosen.announcement)))


def need_observable(at: Address | None, chosen: Chosen) -> None:
    """PlatformError if metrics are to be served of what has none."""
    if at is not None and not chosen.observable:
        raise PlatformError("the simulator has no live metrics (virtual time); leave out --observe, or use: --runtime netns")


def playing(plan: Plan, chosen: Chosen, record: RunRecord, at: Address | None, data: Path) -> Outcome:
    """`at`: where to serve metrics, if anybody looks on; a Prometheus keeps its data under `data`. The record knows the
    scenario's path. Closes the record."""
    from opus_controller.cli._progress import shown
    from opus_controller.engine.play import play
    from opus_controller.engine.record import METRICS_SAMPLES

    archive = record.directory / METRICS_SAMPLES if chosen.observable else None

    async def watched() -> Outcome:
        with shown() as on_progress:
            return await play(plan, chosen.make(record.directory, "run"), record, on_progress=on_progress, observer=observer)

    try:
        if chosen.observable:
            _keep_files(plan, record)
        with observing(plan, record.directory.name, archive, at, data) as observer:
            return asyncio.run(watched())
    finally:
        record.close()


def _keep_files(plan: Plan, record: RunRecord) -> None:
    """Files of the plan's services go into the record, from where the runtime brings them to the hosts that have them first."""
    from opus_controller.engine.record import files_of
    from opus_controller.model.service import bundles

    needed = [app.service.files.digest for app in plan.apps if app.service is not None and app.service.files is not None]
    if all(files_of(record.directory, digest).is_file() for digest in needed):  # from a pack
        return
    for bundle in bundles(plan, Path(record.scenario_path).parent):
        record.keep_files(bundle.digest, bundle.data)


def settings_of(given: Sequence[str] | None) -> tuple[Setting, ...]:
    from opus_controller.model.settings import parse_setting

    return tuple(parse_setting(text) for text in given or ())


def facts_of(scenario: Path, chosen: Chosen, settings: Sequence[Setting] = ()) -> dict[str, Any]:
    """For run.json: where a run came from."""
    return {
        "command": ["opus", *sys.argv[1:]],
        "scenario_path": str(scenario),
        "settings": {setting.key: setting.text for setting in settings},
        "versions": versions(),
        "chosen": chosen.announcement,
    }


def versions() -> dict[str, str]:
    """Of everything whose change could change a run."""
    packages = {name: metadata.version(name) for name in ("opus-testbed", "grpcio", "protobuf")}
    return {"python": platform.python_version(), "kernel": platform.release(), **packages, "source": _source()}


def _source() -> str:
    """A digest of Opus' own program text: a version number does not tell one commit from the next."""
    digest = hashlib.sha256()
    for package in ("opus_controller", "opus_node", "opus_proto"):
        spec = find_spec(package)
        for place in map(Path, spec.submodule_search_locations or () if spec is not None else ()):
            for file in sorted(place.rglob("*.py")):
                digest.update(f"{package}/{file.relative_to(place).as_posix()}\0".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
