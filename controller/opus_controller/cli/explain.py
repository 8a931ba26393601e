"""`opus explain`: which hosts an application holds in a run, and why they were given to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opus_controller.cli._output import JsonOption, console, print_json, print_table
from opus_controller.cli.report import LATEST
from opus_controller.model.errors import ScenarioError

if TYPE_CHECKING:
    from opus_controller.report.explain import Decision, Held


def register(app: typer.Typer) -> None:
    @app.command()
    def explain(
        application: Annotated[str, typer.Argument(metavar="APP", help="An application with a utility.")],
        run: Annotated[Path, typer.Option("--out", help="The run's directory.")] = LATEST,
        as_json: JsonOption = False,
    ) -> None:
        """Who holds which hosts and why: each division of a run by its inputs, then every host of the last one."""
        from opus_controller.engine.record import RecordReader
        from opus_controller.report.explain import decisions

        if run == LATEST and not run.exists():
            raise ScenarioError("no run yet (runs/latest is missing); make one with: opus run SCENARIO")
        found = decisions(RecordReader(run), application)
        if as_json:
            print_json({"app": application, "decisions": [one.model() for one in found]})
            return
        _show(application, found)


def _show(app: str, found: list[Decision]) -> None:
    columns = ("at", "why", "asked", "E", "hosts", "gained", "lost", "latency", "answered", "worth", "with the old")
    print_table(columns, [_row(one) for one in found])
    last = found[-1]
    promised = f", no more than promised ({last.floor})" if last.promised else f", promised {last.floor}"
    whole = "" if last.whole else ", search cut short"
    console().print(
        f"\n{app} at {last.at_s:.1f} s, by {last.steward}: {len(last.held)} of {last.pool} hosts{promised}; "
        f"{last.demand_per_s:.1f} requests/s of {1000 * last.cost_s:g} ms each; {last.forecasts} forecasts{whole}",
        soft_wrap=True,
    )
    print_table(("host", "", "lost without it", "who else would want it", "and gain"), [_why(one) for one in last.held])


def _row(one: Decision) -> tuple[object, ...]:
    latency = "-" if one.latency_ms is None else f"{one.latency_ms:.0f} ms"
    return (
        f"{one.at_s:.1f} s",
        one.cause,
        f"{one.demand_per_s:.1f}/s",
        f"{one.e:.2f}",
        len(one.held),
        " ".join(host.host for host in one.held if host.new),
        " ".join(one.lost),
        latency,
        f"{100 * one.availability:.1f}%",
        f"{one.utility:.2f}",
        f"{one.utility_before:.2f}",
    )


def _why(one: Held) -> tuple[object, ...]:
    return (
        one.host,
        "new" if one.new else "kept",
        f"{one.keeps:.3f}",
        one.rival or "nobody",
        f"{one.offer:.3f}" if one.rival else "",
    )
