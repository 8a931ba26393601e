"""`opus sweep`: a scenario under every combination of some values, each over the same seeds."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opus_controller.cli._choose import Chosen, LinksName, LinksOption, RuntimeName, choose_runtime
from opus_controller.cli._output import JsonOption, need_writable, write_out
from opus_controller.cli._playing import RUNS, SetOption, announce, facts_of, settings_of
from opus_controller.cli._pool import Job
from opus_controller.cli._repeat import exit_code, seeds_of
from opus_controller.cli._series import MOST_RUNS, JobsOption, new_directory, processes, run_all
from opus_controller.model.errors import InvalidRun, ScenarioError

if TYPE_CHECKING:
    from opus_controller.model.scenario import Scenario
    from opus_controller.model.settings import Setting, Variation
    from opus_controller.report.result import Result
    from opus_controller.report.several import sweep as sweeps

    Values = tuple[Setting, ...]


def register(app: typer.Typer) -> None:
    @app.command()
    def sweep(
        scenario: Annotated[str, typer.Argument(help="A scenario's file, or the name of one that comes with Opus.")],
        vary: Annotated[
            list[str],
            typer.Option(
                "--vary", help="KEY=V1,V2,...: a key of the scenario, as in overlay.wave=1,4; several: all combinations."
            ),
        ],
        runtime: Annotated[RuntimeName, typer.Option("--runtime", help="As for opus run.")] = RuntimeName.auto,
        links: LinksOption = LinksName.auto,
        seed: Annotated[int | None, typer.Option("--seed", min=0, help="The first, in place of the scenario's.")] = None,
        set_: SetOption = None,
        repeat: Annotated[int, typer.Option("--repeat", min=1, max=MOST_RUNS, help="Seeds for each combination.")] = 1,
        jobs: JobsOption = None,
        figures: Annotated[
            str | None,
            typer.Option("--figures", help="Columns of the table, as in availability,hops.mean; all are in sweep.json."),
        ] = None,
        out: Annotated[Path | None, typer.Option("--out", help="The sweep's directory, in place of runs/NAME-TIME.")] = None,
        junit: Annotated[Path | None, typer.Option("--junit", help="Also write the expectations here as JUnit XML.")] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Run a scenario under every combination of some values, each over the same seeds, and compare them in a table.

        Exit code: that of the worst run, as for opus run.
        """
        from opus_controller.model.scenario import find
        from opus_controller.model.settings import parse_variation

        columns = columns_of(figures)
        need_writable(junit)
        path = find("scenarios", scenario)
        variations = [parse_variation(text) for text in vary]
        wanted = _load(path, settings_of(set_), variations, seed, repeat)
        chosen = choose_runtime(runtime, links, scenario=scenario)
        series = _Series(wanted, chosen, path, processes(chosen, jobs, len(wanted.varied) * repeat), out)
        raise typer.Exit(series.run(variations, columns, junit, as_json=as_json))


@dataclass(frozen=True)
class _Wanted:
    fixed: Values
    varied: list[Values]
    """Of each combination."""
    scenarios: list[Scenario]
    seeds: range


def _load(path: Path, fixed: Values, variations: Sequence[Variation], seed: int | None, repeat: int) -> _Wanted:
    """Every combination, compiled once: what does not fit is said before anything runs."""
    from opus_controller.model.compile import compile_plan
    from opus_controller.model.scenario import load_scenario
    from opus_controller.model.settings import combined

    if both := [one.key for one in variations if one.key in [setting.key for setting in fixed]]:
        raise ScenarioError(f"--set {both[0]}: is varied, too; allowed: one of --set and --vary for a key")
    varied = combined(variations)
    if len(varied) * repeat > MOST_RUNS:
        raise ScenarioError(f"{len(varied)} combinations over {repeat} seeds; allowed: at most {MOST_RUNS} runs")
    scenarios = [load_scenario(path, (*fixed, *values)) for values in varied]
    plans = [compile_plan(scenario, seed) for scenario in scenarios]
    return _Wanted(fixed, varied, scenarios, seeds_of(plans[0].seed, repeat))


@dataclass
class _Series:
    wanted: _Wanted
    chosen: Chosen
    path: Path
    at_a_time: int
    out: Path | None
    results: dict[str, list[tuple[str, Result]]] = field(default_factory=dict)
    """By the setting's directory: (the run's directory, its result)."""

    def run(self, variations: Sequence[Variation], columns: Sequence[str], junit: Path | None, *, as_json: bool) -> int:
        from opus_controller.engine.record import keep_inputs
        from opus_controller.report.several.files import write
        from opus_controller.report.several.sweep import collected

        first = self.wanted.scenarios[0].form.name
        directory = new_directory(self.out, RUNS, first)
        count = len(self.wanted.varied) * len(self.wanted.seeds)
        keep_inputs(dict.fromkeys(file for scenario in self.wanted.scenarios for file in scenario.files), directory)
        jobs = self._jobs(directory)
        self._announce()
        ending = run_all(jobs, count, self.chosen, self.at_a_time, self._done)
        settings = self._summed_up(directory, interrupted=ending.interrupted)
        vary = {one.key: [setting.value for setting in one.settings] for one in variations}
        swept = collected(settings, vary=vary, asked=len(self.wanted.varied), interrupted=ending.interrupted)
        if swept is not None:
            file = write(swept, directory)
            self._show(swept, columns, file, junit, as_json=as_json)
            self._draw(variations, directory)
        return exit_code(ending, swept.exit_code if swept is not None else InvalidRun.exit_code, directory)

    def _announce(self) -> None:
        from opus_controller.model.compile import compile_plan

        seeds, count = self.wanted.seeds, len(self.wanted.varied)
        plan = compile_plan(self.wanted.scenarios[0], seeds[0])
        announce(plan, self.chosen, f"{count} settings, seeds {seeds[0]} to {seeds[-1]}")

    def _jobs(self, directory: Path) -> Iterator[Job]:
        from opus_controller.model.compile import compile_plan

        for k, (varied, scenario) in enumerate(zip(self.wanted.varied, self.wanted.scenarios, strict=True)):
            place = directory / place_of(k, len(self.wanted.varied), varied)
            facts = facts_of(self.path, self.chosen, (*self.wanted.fixed, *varied))
            for seed in self.wanted.seeds:
                label = f"{', '.join(map(str, varied))}, seed {seed}"
                yield Job(label, compile_plan(scenario, seed), place / f"seed-{seed}", facts)

    def _done(self, job: Job, result: Result) -> None:
        self.results.setdefault(job.directory.parent.name, []).append((job.directory.name, result))

    def _summed_up(self, directory: Path, *, interrupted: bool) -> list[sweeps.Setting]:
        from opus_controller.report.several.files import write
        from opus_controller.report.several.repeat import summed_up
        from opus_controller.report.several.sweep import Setting

        found = []
        for k, varied in enumerate(self.wanted.varied):
            name = place_of(k, len(self.wanted.varied), varied)
            values = {setting.key: setting.value for setting in varied}
            fixed = {setting.key: setting.value for setting in self.wanted.fixed}
            asked = len(self.wanted.seeds)
            results = self.results.get(name, [])
            summary = summed_up(
                results, asked=asked, settings={**fixed, **values}, interrupted=interrupted and len(results) < asked
            )
            if summary is not None:
                write(summary, directory / name)
                found.append(Setting(values=values, directory=name, repeat=summary))
        return found

    def _show(self, swept: sweeps.Sweep, columns: Sequence[str], file: Path, junit: Path | None, *, as_json: bool) -> None:
        from opus_controller.cli._output import console
        from opus_controller.report.junit import to_junit
        from opus_controller.report.several import tables
        from opus_controller.report.several.files import to_json

        if junit is not None:
            write_out(to_junit([result for results in self.results.values() for _, result in results]), junit)
        if as_json:
            typer.echo(to_json(swept), nl=False)
            return
        console().print(tables.sweep(swept, columns or tables.HEADLINE))
        console().print(
            f"\n {file}; two of them closely: opus compare {file.parent / swept.settings[0].directory} ...", style="dim"
        )

    def _draw(self, variations: Sequence[Variation], directory: Path) -> None:
        """Where the number of replicas is what varies: the curve of availability against it."""
        from opus_controller.cli._curve import draw, varied_app
        from opus_controller.model.compile import compile_plan

        app = varied_app(variations, compile_plan(self.wanted.scenarios[0], self.wanted.seeds[0]))
        if not app:
            return
        measured, plans = {}, {}
        for k, (varied, scenario) in enumerate(zip(self.wanted.varied, self.wanted.scenarios, strict=True)):
            of_seeds = [compile_plan(scenario, seed) for seed in self.wanted.seeds]
            size = next(one.replicas for one in of_seeds[0].apps if one.name == app)
            name = place_of(k, len(self.wanted.varied), varied)
            measured[size] = [result for _, result in self.results.get(name, [])]
            plans[size] = of_seeds
        drawn = draw(app, measured, plans, directory)
        if drawn is not None:
            print(f"availability against the number of replicas: {drawn}", file=sys.stderr)


def columns_of(figures: str | None) -> list[str]:
    """ScenarioError for a figure that is none."""
    from opus_controller.model.fields import listed, suggestion
    from opus_controller.report.several.measures import NAMES

    found = [name.strip() for name in figures.split(",")] if figures is not None else []
    for name in found:
        if name not in NAMES:
            raise ScenarioError(f"--figures: there is no figure {name!r}; {suggestion(name, NAMES)}allowed: {listed(NAMES, 40)}")
    return found


def place_of(k: int, of: int, settings: Sequence[Setting]) -> str:
    """ "03-replicas=5-wave=8": a directory's name, at most 60 characters of what it is about."""
    about = "-".join(f"{setting.key.rpartition('.')[2]}={setting.text}" for setting in settings)
    return f"{k + 1:0{len(str(of))}d}-{re.sub('[^A-Za-z0-9=.%_-]+', '-', about)[:60].rstrip('-')}"
