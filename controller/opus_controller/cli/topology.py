"""`opus topology validate|show|import|generate`: networks, before anything runs on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opus_controller.cli import _generate
from opus_controller.cli._output import JsonOption, need_writable, print_json, print_table
from opus_controller.cli._topology_file import (
    FormatOption,
    NameOption,
    OneWayOption,
    OutOption,
    UnitOption,
    load,
    write_topology,
)

if TYPE_CHECKING:
    from opus_controller.model.plan import Host
    from opus_controller.model.shapes import Direction
    from opus_controller.model.topology import Topology

FileArgument = Annotated[str, typer.Argument(help="A topology's file, or the name of one that comes with Opus.", metavar="FILE")]
WIDEST_MATRIX = 16
"""Sites whose round trips still fit on a screen as a table."""


def register(app: typer.Typer) -> None:
    commands = typer.Typer(help="Check, show, import and generate networks.", no_args_is_help=True, rich_markup_mode=None)
    commands.command()(validate)
    commands.command()(show)
    commands.command("import")(import_)
    _generate.register(commands)
    app.add_typer(commands, name="topology")


def validate(file: FileArgument) -> None:
    """Check a topology; exit code 2 and one line if something is wrong with it."""
    topology = load(file)
    typer.echo(f"{file}: {topology.name}, {len(topology.hosts)} hosts in {len(topology.sites)} sites: good")


def show(file: FileArgument, as_json: JsonOption = False) -> None:
    """Sites, hosts and round trips of a topology."""
    topology = load(file)
    if as_json:
        print_json(_document(topology))
        return
    typer.echo(f"{topology.name}: {len(topology.hosts)} hosts in {len(topology.sites)} sites")
    for text in (topology.description, topology.source and f"source: {topology.source}"):
        if text:
            typer.echo(text)
    typer.echo("")
    _show_sites(topology)
    typer.echo("")
    _show_groups(topology)
    typer.echo("")
    _show_round_trips(topology)


def _show_sites(topology: Topology) -> None:
    rows = []
    for site in topology.sites:
        names = [host.name for host in topology.hosts if host.site == site.name]
        spread = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}" if names else ""
        rows.append((site.name, site.description, len(names), spread))
    print_table(("site", "", "hosts", "named"), rows)


def _show_groups(topology: Topology) -> None:
    rows = []
    for group in topology.groups:
        hosts = [host for host in topology.hosts if host.group == group]
        if hosts:
            rows.append((group, len(hosts), *_access(hosts[0]), *_abilities(hosts[0])))
    print_table(("group", "hosts", "access", "up", "down", "cpu", "memory", "storage", "bandwidth"), rows)


def _access(host: Host) -> tuple[str, str, str]:
    from opus_controller.model.units import format_duration, format_rate, format_share, format_size

    def direction(link: Direction) -> str:
        queue = f", queue {format_size(link.queue_bytes)}" if link.queue_bytes else ""
        return f"{format_rate(link.rate_bps)}{queue}" if link.rate_bps else "unlimited"

    loss = f", loss {format_share(host.access.loss)}" if host.access.loss else ""
    return f"{format_duration(host.access.delay_ns)} one way{loss}", direction(host.access.up), direction(host.access.down)


def _abilities(host: Host) -> tuple[str, str, str, str]:
    from opus_controller.model.units import format_rate, format_size

    has = host.abilities
    return f"{has.cpu:g}", format_size(has.memory), format_size(has.storage), format_rate(has.bandwidth)


def _show_round_trips(topology: Topology) -> None:
    """Sums of both directions, access links not included; of many sites only the extremes."""
    sites = topology.sites
    rtts = topology.rtts_ms()
    if len(sites) <= WIDEST_MATRIX:
        typer.echo("round trips in ms between sites, access links not included (* the two directions differ)")
        rows = []
        for i, site in enumerate(sites):
            row = [f"{rtts[i][j]:.1f}{'*' if _uneven(topology, i, j) else ''}" for j in range(len(sites))]
            rows.append((site.short, *row))
        print_table(("", *(site.short for site in sites)), rows)
        return
    pairs = sorted((rtts[i][j], sites[i].name, sites[j].name) for i in range(len(sites)) for j in range(i))
    for what, (rtt, a, b) in (("least", pairs[0]), ("median", pairs[len(pairs) // 2]), ("greatest", pairs[-1])):
        typer.echo(f"{what} round trip between sites: {rtt:.1f} ms, {a} to {b} (the whole matrix: --json)")


def _uneven(topology: Topology, i: int, j: int) -> bool:
    shapes, index = topology.paths.shapes, topology.paths.index
    return shapes[index[i][j]].delay_ns != shapes[index[j][i]].delay_ns


def _document(topology: Topology) -> dict[str, object]:
    return {
        "name": topology.name,
        "description": topology.description,
        "source": topology.source,
        "sites": [
            {"name": site.name, "short": site.short, "place": site.place.model_dump() if site.place else None}
            for site in topology.sites
        ],
        "hosts": [host.model_dump(mode="json", exclude={"boot_at_ns"}) for host in topology.hosts],
        "rtt_ms": topology.rtts_ms(),
        "paths": topology.paths.model_dump(mode="json"),
    }


def import_(
    file: Annotated[Path, typer.Argument(help="A matrix of round trips, pings, a map: see docs/topologies.md.", metavar="FILE")],
    out: OutOption = None,
    name: NameOption = "",
    source: Annotated[str, typer.Option("--source", help="Where the figures come from.")] = "",
    hosts: Annotated[int, typer.Option("--hosts", min=1, help="In each site.")] = 1,
    format_name: FormatOption = "",
    unit: UnitOption = "",
    one_way: OneWayOption = False,
    take: Annotated[int | None, typer.Option("--take", min=2, help="Only so many sites.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Draw them; unless given, the first are taken.")] = None,
) -> None:
    """Make a topology of other people's figures: a matrix of round trips, pings, or a map of cables."""
    from opus_controller.model.importers.table import import_topology

    need_writable(out)
    text = import_topology(
        file, name=name, source=source, hosts=hosts, format_name=format_name, unit=unit, one_way=one_way, take=take, seed=seed
    )
    write_topology(text, out)
