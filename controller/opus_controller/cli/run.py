"""`opus run`: the whole path, from a scenario to a verdict."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opus_controller.cli._choose import LinksName, LinksOption, RuntimeName, choose_runtime
from opus_controller.cli._observe import ObserveAddressOption, ObserveOption, asked_for
from opus_controller.cli._output import JsonOption, need_writable
from opus_controller.cli._playing import SetOption, facts_of, need_observable, settings_of
from opus_controller.cli._repeat import Wanted, seeds_of
from opus_controller.cli._repeat import repeat as run_repeatedly
from opus_controller.cli._rerun import refuse_options, rerun
from opus_controller.cli._series import MOST_RUNS, JobsOption
from opus_controller.cli._single import Shown, run_once
from opus_controller.model.errors import ScenarioError

if TYPE_CHECKING:
    from opus_controller.model.plan import Plan


def register(app: typer.Typer) -> None:
    @app.command()
    def run(
        scenario: Annotated[
            str, typer.Argument(help="A scenario's file, the name of one that comes with Opus, or a packed run.")
        ],
        runtime: Annotated[
            RuntimeName, typer.Option("--runtime", help="auto: docker where its engine and image are, else netns, else sim.")
        ] = RuntimeName.auto,
        links: LinksOption = LinksName.auto,
        seed: Annotated[int | None, typer.Option("--seed", min=0, help="In place of the scenario's.")] = None,
        out: Annotated[Path | None, typer.Option("--out", help="The run's directory, in place of runs/NAME-TIME.")] = None,
        hop_cost: Annotated[
            str | None,
            typer.Option("--hop-cost", help="For sim: what a message takes beyond its path, as `opus bench hop` prints it here."),
        ] = None,
        victims_of: Annotated[
            Path | None,
            typer.Option("--victims-of", help="An earlier run: what is aimed by live state hits the same hosts again."),
        ] = None,
        set_: SetOption = None,
        repeat: Annotated[
            int | None,
            typer.Option(
                "--repeat",
                min=1,
                max=MOST_RUNS,
                help="Run N times, with this seed and those that follow; means with 95% intervals.",
            ),
        ] = None,
        jobs: JobsOption = None,
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
        from opus_controller.engine.record import RecordReader, keep_inputs
        from opus_controller.engine.replay import with_victims_of
        from opus_controller.model.compile import compile_plan
        from opus_controller.model.scenario import find, load_scenario
        from opus_controller.report.pack import is_pack

        at = asked_for(observe, observe_address)
        if at is not None and repeat is not None:
            raise ScenarioError("--observe: shows one run, not several; leave it out, or leave out --repeat")
        need_writable(junit)
        shown = Shown(out, junit, as_json)
        if is_pack(Path(scenario)):
            given = {"--seed": seed, "--set": set_, "--repeat": repeat, "--jobs": jobs, "--victims-of": victims_of}
            refuse_options({**given, "--hop-cost": hop_cost})
            raise typer.Exit(rerun(Path(scenario), runtime, links, at, shown))
        path = find("scenarios", scenario)
        settings = settings_of(set_)
        loaded = load_scenario(path, settings)
        earlier = RecordReader(victims_of) if victims_of is not None else None

        def plan_of(seed: int | None) -> Plan:
            plan = compile_plan(loaded, seed)
            return plan if earlier is None else with_victims_of(plan, earlier)

        plan = plan_of(seed)
        if hop_cost is not None and repeat is not None:
            raise ScenarioError("--hop-cost: goes with one run; leave it out, or leave out --repeat")
        chosen = choose_runtime(runtime, links, scenario=scenario, hop_cost=hop_cost)
        need_observable(at, chosen)
        facts = facts_of(path, chosen, settings)
        if repeat is not None:
            seeds = seeds_of(plan.seed, repeat)
            raise typer.Exit(run_repeatedly(Wanted(plan_of, seeds, chosen, facts, settings, loaded.files, shown, jobs)))
        code, _ = run_once(plan, chosen, facts, partial(keep_inputs, loaded.files), at, shown)
        raise typer.Exit(code)
