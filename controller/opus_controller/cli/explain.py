"""`opus explain`: which hosts an application holds in a run, and why they were given to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opus_controller.cli._output import JsonOption, console, print_json, print_table
from opus_controller.cli.report import LATEST
from opus_controller.model.errors import ScenarioError

if TYPE_CHECKING:
    from opus_controller.report.explain import Configuration, Explained


def register(app: typer.Typer) -> None:
    @app.command()
    def explain(
        application: Annotated[str, typer.Argument(metavar="APP", help="One of the run's applications.")],
        run: Annotated[Path, typer.Option("--out", help="The run's directory.")] = LATEST,
        as_json: JsonOption = False,
    ) -> None:
        """Who holds which hosts and why: each decision of a run by its inputs, then every host of the last one."""
        from opus_controller.engine.record import RecordReader
        from opus_controller.report.explain import explained

        if run == LATEST and not run.exists():
            raise ScenarioError("no run yet (runs/latest is missing); make one with: opus run SCENARIO")
        found = explained(RecordReader(run), application)
        if as_json:
            print_json(found.model())
            return
        _show(found)


def _show(found: Explained) -> None:
    from opus_controller.report import reasons

    print_table(*reasons.decisions(found))
    last = found.decisions[-1]
    console().print(f"\n{reasons.summary(found.app.name, last)}", soft_wrap=True)
    print_table(*reasons.held(last))
    if found.configurations:
        console().print("\nWho was to keep its data:", soft_wrap=True)
        print_table(("number", "since", "in force", "follows", "members"), [_row(one) for one in found.configurations])


def _row(one: Configuration) -> tuple[object, ...]:
    force = "never" if one.in_force_s is None else f"{one.in_force_s:.1f} s"
    return (
        one.number,
        f"{one.began_s:.1f} s",
        f"{force}, {one.entered} of {len(one.members)}",
        f"{one.cause} ({one.decided_s:.1f} s)" if one.decided_s is not None else "",
        " ".join(one.members),
    )
