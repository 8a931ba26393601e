"""What the commands that write a topology's file have in common."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from opus_controller.cli._output import write_out

if TYPE_CHECKING:
    from opus_controller.model.topology import Topology

OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="Write here; unless given, to standard output.")]
NameOption = Annotated[str, typer.Option("--name", help="Of the topology; unless given, by its origin.")]
FormatOption = Annotated[
    str, typer.Option("--format", help="What the file is, where it does not show: numpy, graphml, gml, brite, king, ...")
]
UnitOption = Annotated[str, typer.Option("--unit", help="Of its round trips: us, ms, s. Unless given: ms, of king us.")]
OneWayOption = Annotated[bool, typer.Option("--one-way", help="Its figures are one way: a round trip is twice that.")]


def load(file: str) -> Topology:
    """Of that name or in that file. Raises ScenarioError."""
    from opus_controller.model.scenario import find
    from opus_controller.model.topology import load_topology

    return load_topology(find("topologies", file))


def write_topology(text: str, out: Path | None) -> None:
    """Write it, and load what was written: it is checked, and its figures can be compared with what is known of it."""
    write_out(text, out)
    if out is None:
        return
    topology = load(str(out))
    rtts = topology.rtts_ms()
    between = [rtts[i][j] for i in range(len(rtts)) for j in range(i)]
    said = f"; median round trip between sites {median(between):.1f} ms" if between else ""
    typer.echo(f"{out}: {topology.name}, {len(topology.hosts)} hosts in {len(topology.sites)} sites{said}")
