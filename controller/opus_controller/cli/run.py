"""`opus run`: the whole path, from a scenario to a verdict."""

from __future__ import annotations

import asyncio
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opus_controller.cli._choose import Chosen, LinksName, LinksOption, RuntimeName, choose_runtime
from opus_controller.cli._observe import Address, ObserveAddressOption, ObserveOption, asked_for, observing
from opus_controller.cli._output import JsonOption, need_writable, write_out
from opus_controller.model.errors import InvalidRun, OpusError, PlatformError

if TYPE_CHECKING:
    from opus_controller.engine.play import Outcome
    from opus_controller.engine.record import RunRecord
    from opus_controller.model.plan import Plan

RUNS = Path("runs")
VERDICT_EXIT = {"pass": 0, "fail": 1, "invalid": InvalidRun.exit_code}


def register(app: typer.Typer) -> None:
    @app.command()
    def run(
        scenario: Annotated[str, typer.Argument(help="A scenario's file, or the name of one that comes with Opus.")],
        runtime: Annotated[
            RuntimeName, typer.Option("--runtime", help="auto: docker where its engine and image are, else netns, else sim.")
        ] = RuntimeName.auto,
        links: LinksOption = LinksName.auto,
        seed: Annotated[int | None, typer.Option("--seed", min=0, help="In place of the scenario's.")] = None,
        out: Annotated[Path | None, typer.Option("--out", help="The run's directory, in place of runs/NAME-TIME.")] = None,
        victims_of: Annotated[
            Path | None,
            typer.Option("--victims-of", help="An earlier run: what is aimed by live state hits the same hosts again."),
        ] = None,
        junit: Annotated[
            Path | None,
            typer.Option("--junit", help="Also write the expectations here as JUnit XML, for GitLab, Jenkins and others."),
        ] = None,
        observe: ObserveOption = False,
        observe_address: ObserveAddressOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Run a scenario, break it on purpose, and report what users of the service would have felt.

        Exit code: 0 pass, 1 an expectation failed, 2 bad input, 3 this machine cannot do it, 4 the run is invalid.
        """
        from opus_controller.engine.record import RecordReader, RunRecord
        from opus_controller.engine.replay import with_victims_of
        from opus_controller.model.compile import compile_plan
        from opus_controller.model.scenario import find, load_scenario

        at = asked_for(observe, observe_address)
        need_writable(junit)
        path = find("scenarios", scenario)
        plan = compile_plan(load_scenario(path), seed)
        if victims_of is not None:
            plan = with_victims_of(plan, RecordReader(victims_of))
        chosen = choose_runtime(runtime, links, scenario=scenario)
        _announce(plan, chosen)
        if at is not None and not chosen.observable:
            raise PlatformError("the simulator has no live metrics (virtual time); leave out --observe, or use: --runtime netns")
        record = RunRecord.at(out, plan) if out is not None else RunRecord.create(RUNS, plan)
        record.about(command=["opus", *sys.argv[1:]], scenario_path=str(path), versions=_versions(), chosen=chosen.announcement)
        outcome = _play(plan, chosen, record, at, RUNS if out is None else out)
        raise typer.Exit(_conclude(record.directory, outcome, junit, as_json=as_json))


def _announce(plan: Plan, chosen: Chosen) -> None:
    """On standard error: standard output is for the result."""
    print(
        f"{plan.name}: {len(plan.hosts)} hosts in {len(plan.sites)} sites of {plan.topology}, seed {plan.seed}", file=sys.stderr
    )
    for line in chosen.announcement:
        print(line, file=sys.stderr)


def _play(plan: Plan, chosen: Chosen, record: RunRecord, at: Address | None, data: Path) -> Outcome:
    """`at`: where to serve metrics, if anybody looks on; a Prometheus keeps its data under `data`."""
    from opus_controller.cli._progress import shown
    from opus_controller.engine.play import play
    from opus_controller.engine.record import METRICS_SAMPLES

    archive = record.directory / METRICS_SAMPLES if chosen.observable else None

    async def playing() -> Outcome:
        with shown() as on_progress:
            return await play(plan, chosen.make(record.directory, "run"), record, on_progress=on_progress, observer=observer)

    try:
        with observing(plan, record.directory.name, archive, at, data) as observer:
            return asyncio.run(playing())
    finally:
        record.close()


def _conclude(directory: Path, outcome: Outcome, junit: Path | None, *, as_json: bool) -> int:
    """Report what there is, even of a run that broke off; the exit code."""
    from rich.console import Console

    from opus_controller.report.conclude import conclude, to_json
    from opus_controller.report.junit import to_junit
    from opus_controller.report.table import show

    if outcome.error is not None and not isinstance(outcome.error, OpusError):
        print(f"the record so far is in {directory}", file=sys.stderr)
        raise outcome.error
    result = conclude(directory)
    if junit is not None:
        write_out(to_junit([result]), junit)
    if as_json:
        typer.echo(to_json(result), nl=False)
    else:
        show(result, Console(), page=directory / "report.html")
    for host, words in outcome.died.items():
        print(f"{host} died by itself: {words.splitlines()[-1]}", file=sys.stderr)
    if outcome.error is not None:
        raise outcome.error
    return outcome.exit_code or VERDICT_EXIT[result.verdict]


def _versions() -> dict[str, str]:
    packages = {name: metadata.version(name) for name in ("opus-testbed", "grpcio", "protobuf")}
    return {"python": platform.python_version(), "kernel": platform.release(), **packages}
