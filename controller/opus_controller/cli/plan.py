"""`opus plan`: a scenario with every random choice made, before anything runs."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opus_controller.cli._output import print_json, print_table
from opus_controller.model.errors import ScenarioError

if TYPE_CHECKING:
    from opus_controller.model.plan import Churn, Fault, Plan, Service, Target
    from opus_controller.model.shapes import HostChange, ShapeChange

MOST_MOVES = 12
"""Departures and returns that are listed."""


def register(app: typer.Typer) -> None:
    @app.command()
    def plan(
        scenario: Annotated[str, typer.Argument(help="A scenario's file, or the name of one that comes with Opus.")],
        seed: Annotated[int | None, typer.Option("--seed", min=0, help="In place of the scenario's.")] = None,
        out: Annotated[Path | None, typer.Option("--out", help="Write the plan here (plan.json).")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print the plan itself, as JSON, and nothing else.")] = False,
    ) -> None:
        """Compile a scenario and show what would happen: hosts, clients, faults, expectations, and the plan's digest."""
        from opus_controller.model.compile import compile_plan, save_plan
        from opus_controller.model.scenario import find, load_scenario

        compiled = compile_plan(load_scenario(find("scenarios", scenario)), seed)
        if out is not None:
            try:
                save_plan(compiled, out)
            except OSError as error:
                raise ScenarioError(f"cannot write {out}: {error.strerror}") from None
        if as_json:
            print_json(compiled.model_dump(mode="json"))
        else:
            _show(compiled)


def _show(plan: Plan) -> None:
    from opus_controller.model.units import format_duration, format_frequency

    typer.echo(f"{plan.name}, seed {plan.seed}: {len(plan.hosts)} hosts in {len(plan.sites)} sites of {plan.topology}")
    typer.echo(f"digest {plan.digest}")
    typer.echo(f"seeds {', '.join(plan.seeds)}; applications {', '.join(f'{app.name} x{app.replicas}' for app in plan.apps)}")
    for app in plan.apps:
        if app.service is not None:
            typer.echo(f"service {app.name}: {_service(app.service)}")
    total = sum(load.rate_per_s for load in plan.workload)
    if plan.workload:
        start, stop = min(load.start_ns for load in plan.workload), max(load.stop_ns for load in plan.workload)
        typer.echo(
            f"{len({load.client for load in plan.workload})} clients, {format_frequency(round(total, 6))} in all, "
            f"from {format_duration(start)} to {format_duration(stop)}"
        )
    typer.echo(f"ends at {format_duration(plan.duration_ns)}")
    if plan.timeline:
        typer.echo("")
        print_table(("at", "name", "event", "whom"), [(format_duration(f.at_ns), f.name, f.kind, whom(f)) for f in plan.timeline])
    if plan.churn is not None:
        typer.echo("")
        _show_churn(plan.churn)
    if plan.expectations:
        typer.echo("")
        print_table(("expected",), [(expectation.name,) for expectation in plan.expectations])


def _service(service: Service) -> str:
    from opus_controller.model.units import format_size

    what = f"image {service.image}" if service.image else shlex.join(service.command)
    health = f"health {service.health_path}" if service.health_path else "health by connecting"
    files = service.files
    shipped = f"; {files.files} files, {format_size(files.size)} packed, {files.digest[:12]}" if files is not None else ""
    return f"{what}; {service.protocol} on port {service.port}, {health}, gateways on 127.0.0.1:{service.gateway}{shipped}"


def _show_churn(churn: Churn) -> None:
    from opus_controller.model.units import format_duration

    typer.echo("churn: " + "\n       ".join(churn.text))
    moves = Counter("return" if event.kind == "return" else "departure" for event in churn.events for _ in event.hosts)
    absent = [life.host for life in churn.lives if not life.up]
    typer.echo(
        f"{moves['departure']} departures, {moves['return']} returns; {len(absent)} absent at first {_few(absent)}".rstrip()
    )
    rows = [(format_duration(event.at_ns), event.kind, ", ".join(event.hosts)) for event in churn.events[:MOST_MOVES]]
    print_table(("at", "churn", "whom"), rows)
    if len(churn.events) > MOST_MOVES:
        typer.echo(f"and {len(churn.events) - MOST_MOVES:,} more (all of them: --json)")


def _few(names: Sequence[str]) -> str:
    """The first six in brackets."""
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"({', '.join(names[:6])}{more})" if names else ""


def whom(fault: Fault) -> str:
    """Whom a fault is about, for people: as written, and who was drawn already."""
    if fault.kind == "heal":
        return fault.undoes
    if fault.kind == "partition":
        return f"{_target(fault.a)} {'|' if fault.both_ways else '-x>'} {_target(fault.b) if fault.b.text else 'everyone else'}"
    if fault.kind == "link":
        arrow = "<->" if fault.both_ways else "->"
        return f"{fault.source} {arrow} {fault.target}: {change_text(fault.change)}"
    if fault.kind == "flood":
        return f"{_target(fault.target)}: {fault.rate_per_s:g} requests of {fault.app} a second"
    if fault.kind == "strain":
        return f"{_target(fault.target)}: {strain_text(fault.change)}"
    return _target(fault.target)


def strain_text(change: HostChange) -> str:
    """ "20% of its processor, at most 64MiB of memory"."""
    from opus_controller.model.units import format_offset, format_rate, format_share, format_size

    parts = [
        f"{format_share(change.cpu)} of its processor" if change.cpu < 1 else "",
        f"at most {format_size(change.memory)} of memory" if change.memory is not None else "",
        f"{format_rate(change.up_bps)} up" if change.up_bps is not None else "",
        f"{format_rate(change.down_bps)} down" if change.down_bps is not None else "",
        f"its disk holds {format_size(change.disk) if change.disk else 'no more'}" if change.disk is not None else "",
        f"its disk writes {format_rate(change.write_bps)}" if change.write_bps is not None else "",
        f"its clock {format_offset(change.clock_ns)}" if change.clock_ns else "",
        f"its clock {abs(change.drift_ppm)} ppm too {'fast' if change.drift_ppm > 0 else 'slow'}" if change.drift_ppm else "",
    ]
    return ", ".join(part for part in parts if part)


def change_text(change: ShapeChange) -> str:
    """ "delay 1 s, loss 5%; 40 ms more delay": what is put in place, then what comes on top."""
    from opus_controller.model.units import format_duration, format_share

    def figure(field: str, value: Any) -> str:
        if field.endswith("_ns"):
            return format_duration(value)
        return format_share(value) if isinstance(value, float) else str(value)

    put = [f"{field.removesuffix('_ns')} {figure(field, value)}" for field, value in change.put.items() if value is not None]
    added = [(field.removeprefix("add_"), value) for field, value in change if field != "put" and value]
    more = [f"{figure(field, value)} more {field.removesuffix('_ns')}" for field, value in added]
    return "; ".join(", ".join(part) for part in (put, more) if part)


def _target(target: Target) -> str:
    drawn = _few(target.hosts)
    return f"{target.text} {drawn}" if drawn and drawn != f"({target.text})" else target.text
