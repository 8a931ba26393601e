"""`opus utility`: what the applications of a scenario are worth, in figures and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opus_controller.cli._output import JsonOption, need_writable, print_json, print_table
from opus_controller.model.errors import ScenarioError

if TYPE_CHECKING:
    from opus_controller.model.plan import App


def register(app: typer.Typer) -> None:
    @app.command()
    def utility(
        scenario: Annotated[str, typer.Argument(help="A scenario's file, or the name of one that comes with Opus.")],
        picture: Annotated[Path | None, typer.Option("--picture", help="Also draw the functions: a .png or .svg file.")] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Show what applications are worth by what their users feel: latency, availability, throughput.

        Exit code: 0, or 2 for a scenario in which no application says what it is worth.
        """
        from opus_controller.model.compile import compile_plan
        from opus_controller.model.scenario import find, load_scenario

        plan = compile_plan(load_scenario(find("scenarios", scenario)))
        worth = [one for one in plan.apps if one.utility is not None]
        if not worth:
            raise ScenarioError(f"{scenario}: no application has a utility; allowed: applications: [{{name: ..., utility: ...}}]")
        need_writable(picture)
        if picture is not None:
            _draw(worth, picture)
        if as_json:
            print_json({one.name: one.model_dump(mode="json")["utility"] for one in worth})
        else:
            _show(worth)


def _draw(apps: Sequence[App], picture: Path) -> None:
    from opus_controller.report.utility import save

    save(apps, picture)


def _show(apps: Sequence[App]) -> None:
    from opus_controller.report.utility import parts

    rows: list[tuple[object, ...]] = []
    for app in apps:
        told = app.utility
        if told is None:
            continue
        first: tuple[object, ...] = (app.name, f"{told.worth:g}", told.floor, told.combine)
        for part in parts(told):
            rows.append((*first, part.name, part.told))
            first = ("", "", "", "")
    print_table(("application", "worth", "floor", "combined", "of", "share of its worth at"), rows)
