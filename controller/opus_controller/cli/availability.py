"""`opus availability`: how many replicas of data that change, and where, before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opus_controller.cli._output import JsonOption, need_writable, print_json, print_table
from opus_controller.model.errors import ScenarioError
from opus_controller.model.units import format_share

if TYPE_CHECKING:
    from opus_controller.model.plan import Plan
    from opus_controller.planner.choose import Curve

SIZES = (1, 2, 3, 5, 7, 9, 11, 13, 15)


def register(app: typer.Typer) -> None:
    @app.command()
    def availability(
        scenario: Annotated[str, typer.Argument(help="A scenario's file, or the name of one that comes with Opus.")],
        application: Annotated[str, typer.Option("--app", help="Which application; the only one unless given.")] = "",
        mode: Annotated[str, typer.Option("--mode", help="Another consistency than the application's own.")] = "",
        sizes: Annotated[str, typer.Option("--sizes", help="Numbers of replicas, with commas between.")] = "",
        replace: Annotated[
            str,
            typer.Option("--replace", help="How long until a lost member is replaced, in place of what the simulator measured."),
        ] = "",
        repeat: Annotated[int, typer.Option("--repeat", min=1, max=1000, help="Courses of events, each of another seed.")] = 10,
        picture: Annotated[Path | None, typer.Option("--picture", help="Also draw the curves: a .png or .svg file.")] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Forecast availability against the number of replicas, in their best places, from the scenario's churn and cuts.

        For a set whose members are replaced when they are lost, and for one that stays as it is. Messages, load and the overlay
        itself are not played: a request can be answered or not by whom it needs. Chosen is the fewest replicas that are as
        available as any number of them, within 0.05 points. Last come the keys for the scenario that keep a set in those places.

        Exit code: 0, or 2 for a scenario in which nothing fails.
        """
        from opus_controller.model.compile import compile_plan
        from opus_controller.model.scenario import find, load_scenario
        from opus_controller.model.units import parse_duration
        from opus_controller.planner.choose import curve
        from opus_controller.planner.delays import MEASURED, Delays

        need_writable(picture)
        loaded = load_scenario(find("scenarios", scenario))
        plans = [compile_plan(loaded)]
        name = _application(plans[0], application)
        chosen = _mode(plans[0], name, mode)
        counts = _sizes(sizes, len(plans[0].hosts))
        try:
            delays = Delays.alike(parse_duration(replace)) if replace else MEASURED
        except ValueError as error:
            raise ScenarioError(f"--replace {error}") from None
        plans += [compile_plan(loaded, plans[0].seed + k) for k in range(1, repeat)]
        found = [curve(plans, name, chosen, counts, static=static, delays=delays) for static in (False, True)]
        if picture is not None:
            _draw(f"{name}: {chosen or 'none'}", found, picture)
        if as_json:
            print_json([_told(one) for one in found])
        else:
            _show(found)
            _say_keys(found)


def _application(plan: Plan, given: str) -> str:
    names = [app.name for app in plan.apps if any(load.app == app.name for load in plan.workload)]
    if given and given not in names:
        raise ScenarioError(f"--app {given}: there is no such application with clients; allowed: {', '.join(names) or 'none'}")
    if not given and len(names) != 1:
        raise ScenarioError(f"--app is missing; allowed: {', '.join(names) or 'none, no application has clients'}")
    if not plan.churn and not plan.timeline:
        raise ScenarioError(f"{plan.name}: nothing fails in it; allowed: a scenario with churn, or with faults in its timeline")
    return given or names[0]


def _mode(plan: Plan, app: str, given: str) -> str:
    from opus_controller.planner.membership import NEEDS

    known = [name for name in NEEDS if name]
    if given and given not in known:
        raise ScenarioError(f"--mode {given}: not known; allowed: {', '.join(known)}")
    return given or next(one.consistency for one in plan.apps if one.name == app)


def _sizes(text: str, hosts: int) -> list[int]:
    if not text:
        return [size for size in SIZES if size <= hosts]
    words = text.split(",")
    if not all(word.strip().isdigit() and 1 <= int(word) <= hosts for word in words):
        raise ScenarioError(f"--sizes {text}: allowed: numbers from 1 to {hosts}, with commas between")
    return sorted({int(word) for word in words})


def _name(curve: Curve) -> str:
    return "static" if curve.static else "reconfigured"


def _draw(title: str, curves: Sequence[Curve], picture: Path) -> None:
    from opus_controller.report.availability import Line, save

    lines = [
        Line(_name(one), tuple((point.replicas, point.availability) for point in one.points), one.best.replicas) for one in curves
    ]
    save(title, lines, picture)


def _told(curve: Curve) -> dict[str, object]:
    return {
        "mode": curve.mode,
        "membership": _name(curve),
        "best": curve.best.replicas,
        "points": [
            {
                "replicas": point.replicas,
                "availability": point.availability,
                "lowest": min(point.by_course),
                "places": point.places,
                "hosts": list(point.hosts),
                "sites": dict(point.sites),
            }
            for point in curve.points
        ],
    }


def _show(curves: Sequence[Curve]) -> None:
    rows: list[tuple[object, ...]] = []
    for one in curves:
        for point in one.points:
            best = "<- best" if point is one.best else ""
            where = ", ".join(f"{site} {count}" for site, count in point.sites.items())
            lowest = format_share(round(min(point.by_course), 4))
            rows.append((_name(one), point.replicas, format_share(round(point.availability, 4)), lowest, where, best))
    print_table(("membership", "replicas", "availability", "lowest", "where", ""), rows)


def _say_keys(curves: Sequence[Curve]) -> None:
    """What to write into the scenario. Where members are replaced the overlay places them by itself."""
    for one in curves:
        keys = f"replicas: {one.best.replicas}"
        if one.static:
            keys += f", membership: static, members: [{', '.join(one.best.hosts)}]"
        typer.echo(f"{_name(one)}: {{{keys}}}")
