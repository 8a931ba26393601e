"""`opus churn import|show`: traces of measured hosts, before anything runs by them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opus_controller.cli._output import write_out


def register(app: typer.Typer) -> None:
    commands = typer.Typer(help="Import and show traces of hosts that come and go.", no_args_is_help=True, rich_markup_mode=None)
    commands.command()(show)
    commands.command("import")(import_)
    app.add_typer(commands, name="churn")


def show(file: Annotated[Path, typer.Argument(help="A trace: node,start,end, a line for each session.", metavar="FILE")]) -> None:
    """What is in a trace; exit code 2 and one line if something is wrong with it."""
    typer.echo(_described(file))


def import_(
    file: Annotated[Path, typer.Argument(help="An event_trace.tab (or .tab.gz) of the Failure Trace Archive.", metavar="FILE")],
    out: Annotated[Path | None, typer.Option("--out", help="Write here; unless given, to standard output.")] = None,
    component: Annotated[str, typer.Option("--component", help="The component_id to take, where nodes have several.")] = "",
) -> None:
    """Make a trace for `churn: {trace: FILE}` of the Failure Trace Archive's tables."""
    from opus_controller.model.availability_trace import import_fta

    write_out(import_fta(file, component=component), out)
    if out is not None:
        typer.echo(_described(out))


def _described(file: Path) -> str:
    from statistics import median

    from opus_controller.model.availability_trace import load_trace
    from opus_controller.model.units import format_duration

    trace = load_trace(file)
    lengths = [min(end, trace.end) - start for sessions in trace.sessions.values() for start, end in sessions]
    up = sum(lengths) / (trace.end * len(trace.sessions)) if trace.end else 0.0
    long, middle = (format_duration(round(seconds) * 1_000_000_000) for seconds in (trace.end, median(lengths)))
    nodes = f"{len(trace.sessions)} nodes, {len(lengths)} sessions in {long}"
    return f"{file}: {nodes}; median session {middle}, {up:.0%} up on average"
