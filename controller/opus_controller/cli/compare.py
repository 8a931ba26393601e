"""`opus compare`: two runs, repetitions or sweeps side by side, and a stored baseline as a gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opus_controller.cli._output import JsonOption, console, print_json


def register(app: typer.Typer) -> None:
    @app.command()
    def compare(
        before: Annotated[
            Path, typer.Argument(help="A run, a repetition or a sweep: its directory, or its .json file.", metavar="A")
        ],
        after: Annotated[Path, typer.Argument(help="What it is compared with.", metavar="B")],
        fail_on: Annotated[
            list[str] | None,
            typer.Option(
                "--fail-on",
                help="Exit with 1 if B is worse than A by more than this, and not by chance: 'routing_latency_ms.p50 > 5%', "
                "'availability < -0.1%'. Can be given several times.",
            ),
        ] = None,
        all_figures: Annotated[
            bool, typer.Option("--all", help="Every figure, not only those that differ or matter most.")
        ] = False,
        as_json: JsonOption = False,
    ) -> None:
        """Say what differs between two runs, or two sets of runs paired by seed, and what came of it.

        Each figure's change has an interval; figures in which chance alone could have made it are said to show no difference.

        All intervals hold together with 95%: two equal settings show no difference in any figure in 19 of 20 tries.

        Exit code: 0, 1 if a --fail-on struck, 2 bad input, 4 no valid run on one side.
        """
        from opus_controller.report.several import comparison, files, gate
        from opus_controller.report.several.compared import render

        conditions = [gate.parse_condition(text) for text in fail_on or ()]
        found = comparison.compare(files.read(before), files.read(after), conditions)
        if as_json:
            print_json(found.model_dump(mode="json"))
        else:
            console().print(render(found, all_figures=all_figures))
        raise typer.Exit(found.exit_code)
